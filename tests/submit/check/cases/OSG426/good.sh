#!/bin/bash
set -e
# /ospool/ap40/data/jane/brain is what is sent
python3 train.py --data brain
