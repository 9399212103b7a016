#!/bin/bash
set -e
# pip install nibabel is done in the image
pip install --no-index --find-links wheels nibabel
python3 train.py
