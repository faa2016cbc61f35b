#!/bin/sh
# Installs Mosquitto where it is missing: for the tests about it, and for the benchmarks.
set -eu
PATH="$PATH:/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"
if command -v mosquitto >/dev/null; then exit; fi

echo "Mosquitto is not installed; installing it"
if command -v apt-get >/dev/null; then
    as_root=$([ "$(id -u)" = 0 ] || echo sudo)
    $as_root apt-get update -qq
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends mosquitto >/dev/null
elif command -v brew >/dev/null; then
    brew install --quiet mosquitto
else
    echo "Install Mosquitto 2 and try again: https://mosquitto.org/download" >&2
    exit 1
fi
