"""`python -m unet_segmentation`."""

from unet_segmentation.cli import main

raise SystemExit(main())
