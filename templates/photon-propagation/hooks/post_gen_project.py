# ruff: noqa: F821
"""Copies the propagator and the runtime into job/ and the ice into ice/, and notes the kit's version and the answers in
osgdl.json.
"""

import sys

sys.path.insert(0, {{ cookiecutter.__kit_root | literal }})
from submit import rendering

table = {{ cookiecutter.ice | literal }} + ".txt"
copies = {f"ice/{table}": f"photon_propagation/tables/{table}"}
rendering.after("photon-propagation", {{ kit.answers(cookiecutter) | literal }}, "photon_propagation", copies)
