#!/bin/bash
set -e
python3 train.py \
    --checkpoint-every 5
    --epochs 20
