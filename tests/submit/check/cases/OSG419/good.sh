#!/bin/bash
set -eo pipefail
python3 train.py | tee train.log
