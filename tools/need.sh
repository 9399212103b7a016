#!/bin/sh
# Installs the Debian packages that are missing, where this is root on Debian; else says in one line what to install.
# Usage: need.sh PACKAGE ...
set -eu
missing=
for package in "$@"; do
    case $package in
        uidmap) program=newuidmap ;;
        util-linux) program=nsenter ;;
        python3-venv) program= ;;
        *) program=$package ;;
    esac
    { [ -n "$program" ] && command -v "$program" > /dev/null; } || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
    echo "installing$missing" >&2
    # shellcheck disable=SC2086 # one word for each package
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing; } > /dev/null
else
    echo "missing:$missing. Ask root for: apt-get install$missing (elsewhere: the packages with the same programs)" >&2
    exit 1
fi
