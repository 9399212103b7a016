#!/bin/bash
set -e
# pip install nibabel is done in the image
pip install --no-index --find-links wheels nibabel
curl -s http://localhost:8000/ready
curl -s -X POST https://example.org/done
python3 train.py
