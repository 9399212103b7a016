#!/bin/bash
set -e
pip install nibabel
python3 train.py
