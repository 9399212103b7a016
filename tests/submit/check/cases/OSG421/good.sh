#!/bin/bash
echo "on $CUDA_VISIBLE_DEVICES"
CUDA_VISIBLE_DEVICES= python3 prepare.py
exec python3 train.py
