#!/bin/bash
set -e
export WANDB_API_KEY=$(cat wandb.txt)
# HF_API_KEY=your-key-comes-here-123
exec python3 train.py
