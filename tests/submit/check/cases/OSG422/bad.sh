#!/bin/bash
export LD_LIBRARY_PATH=/opt/lib
exec python3 train.py
