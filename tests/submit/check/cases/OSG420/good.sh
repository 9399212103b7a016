#!/bin/bash
python3 train.py
code=$?
echo done
exit $code
