#!/bin/bash
export CUDA_VISIBLE_DEVICES=0
exec python3 train.py
