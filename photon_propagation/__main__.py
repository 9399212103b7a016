"""`python -m photon_propagation`."""

from photon_propagation.cli import main
from submit.runtime import exit_codes

exit_codes.end(main())
