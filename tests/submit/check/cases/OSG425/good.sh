#!/usr/bin/env python3
import sys

# not sys.exit(85j)
if len(sys.argv) > 9:
    sys.exit("nothing to do")
sys.exit(85)
