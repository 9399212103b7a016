#!/bin/bash
set -e
export WANDB_API_KEY=0123456789abcdef0123456789abcdef01234567
exec python3 train.py
