# trains
set -eu
echo "$@"
