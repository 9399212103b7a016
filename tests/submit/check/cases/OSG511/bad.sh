#!/bin/bash
set -e
timeout 4h python3 train.py
exit 85
