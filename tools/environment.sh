#!/bin/sh
# Bring .venv up to date, or do nothing if it is. `make` calls this before every target.
#
# Up to date means: the stamp file says that an installation of just these files, at just this
# place, ran to its end. The stamp compares contents, not times, so a clone or a `git checkout`
# rebuilds nothing needlessly; an interrupted installation leaves no stamp and is taken up again.
# PYTHON=/path/to/python chooses the interpreter.
set -eu
cd "$(dirname "$0")/.."

VENV=.venv
VENV_PYTHON=$VENV/bin/python
STAMP=$VENV/installed
EXTRAS=offline,dev
LOG=$VENV/install.log

fail() {
    echo "$*" >&2
    exit 1
}

recent_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.14 python}; do
        if recent_enough "$candidate"; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    first=${PYTHON:-python3}
    found=$(command -v "$first" >/dev/null && "$first" --version 2>&1 || echo none)
    fail "expected Python 3.11 or later, got $found as $first;" \
        "install one, or name it: make PYTHON=/path/to/python3.12"
}

create() {
    python=$(find_python)
    rm -rf "$VENV"
    if command -v uv >/dev/null 2>&1; then
        uv venv --quiet --python "$python" "$VENV"
    else
        "$python" -m venv "$VENV" || fail "expected $python to have the venv module;" \
            "install it (Debian, Ubuntu: apt-get install python3-venv) and run make again"
    fi
}

install() {
    if command -v uv >/dev/null 2>&1; then
        uv pip install --quiet --python "$VENV_PYTHON" "$@"
    elif "$VENV_PYTHON" -m uv --version >/dev/null 2>&1 ||
        "$VENV_PYTHON" -m pip install --quiet -c constraints.txt uv >/dev/null 2>&1; then
        "$VENV_PYTHON" -m uv pip install --quiet --python "$VENV_PYTHON" "$@"
    else
        "$VENV_PYTHON" -m pip install --quiet --disable-pip-version-check "$@"
    fi
}

# The place counts because scripts and the editable install hold absolute paths.
wanted="$(cksum pyproject.toml constraints.txt clad/version.py) $PWD $EXTRAS"
if [ -f "$STAMP" ] && [ -x "$VENV_PYTHON" ] && [ "$(cat "$STAMP")" = "$wanted" ]; then
    exit 0
fi

# A stamp of another place, or an interpreter that is gone or too old: start over.
case "$(cat "$STAMP" 2>/dev/null)" in "" | *" $PWD "*) ;; *) rm -rf "$VENV" ;; esac
rm -f "$STAMP"
if recent_enough "$VENV_PYTHON"; then
    echo "Bringing $VENV up to date ..."
else
    create
    echo "Installing clad and its dependencies into $VENV (6 GB, some minutes) ..."
fi
started=$(date +%s)
export UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-120}"
install -c constraints.txt -e ".[$EXTRAS]" >"$LOG" 2>&1 || {
    cat "$LOG" >&2
    fail "the installation failed for the reason above; correct it and run make again"
}
echo "$wanted" >"$STAMP"
echo "Installed in $(($(date +%s) - started)) s."
