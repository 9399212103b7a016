"""`python -m unet_segmentation`."""

from submit.runtime import exit_codes
from unet_segmentation.cli import main

exit_codes.end(main())
