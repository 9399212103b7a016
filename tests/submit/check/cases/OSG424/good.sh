#!/bin/bash
set -e
options=(
    --batch 2
)
cat <<END
    --help
END
python3 train.py "${options[@]}" \
    --checkpoint-every 5 \
    --epochs 20
