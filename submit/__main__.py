"""`python -m submit` is `osgdl`."""

from submit.cli import main

main()
