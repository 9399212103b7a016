#!/bin/sh
# All tests over one pool, on two processes. In CI a pool that cannot start is a failure, elsewhere its tests skip.
# Usage: test.sh [PYTEST ARGUMENT ...]
set -u
export OSGDL_POOL="${OSGDL_TEST_POOL:-tests}" TF_CPP_MIN_LOG_LEVEL=2
[ -n "${CI:-}" ] && set -- --require-pool "$@"
.venv/bin/osgdl pool down --yes 2> /dev/null
.venv/bin/osgdl pool up
.venv/bin/python -m pytest -n 2 --dist loadgroup "$@"
code=$?
.venv/bin/osgdl pool down --yes
exit $code
