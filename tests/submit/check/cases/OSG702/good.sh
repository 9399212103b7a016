#!/bin/bash
set -e
export WANDB_API_KEY=$(cat wandb.txt)
exec python3 train.py
