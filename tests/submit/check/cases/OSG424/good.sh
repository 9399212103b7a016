#!/bin/bash
set -e
options=(
    --batch 2
)
cat <<END
    --help
END
if [[
    -n $1 && -f $1
]]; then
    echo found
fi
python3 train.py "${options[@]}" \
    --checkpoint-every 5 \
    --epochs 20
