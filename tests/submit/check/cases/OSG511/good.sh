#!/bin/bash
timeout 4h python3 train.py
code=$?
[ $code -eq 124 ] && exit 85
exit $code
