#!/bin/bash
set -e
python3 train.py | tee train.log
