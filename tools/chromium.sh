#!/bin/sh
# Make sure that a Chromium is there for the tests that look at a report. `make test-all` calls this.
set -eu

for name in chromium chromium-browser google-chrome google-chrome-stable; do
    if command -v "$name" >/dev/null 2>&1; then
        exit 0
    fi
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing chromium for the report tests ..."
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    export DEBIAN_FRONTEND=noninteractive
    if { apt-get update && apt-get install -y --no-install-recommends chromium; } >"$log" 2>&1; then
        exit 0
    fi
    cat "$log" >&2
fi
echo "expected a Chromium on PATH for the report tests, found none; install it" \
    "(Debian: apt-get install chromium), or run make test, which does without" >&2
exit 1
