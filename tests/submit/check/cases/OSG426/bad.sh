#!/bin/bash
set -e
python3 train.py --data /ospool/ap40/data/jane/brain
