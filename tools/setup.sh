#!/bin/sh
# Create .venv and install requirements.txt into it. Safe to repeat.
# Usage: tools/setup.sh [VENV [pages]]; PYTHON=/path/to/python chooses the interpreter.
# `pages` installs the first group of requirements.txt only: enough to build the book.
set -eu

venv=${1:-.venv}
group=${2:-all}
need_gb=3  # PyTorch without CUDA and Jupyter; with CUDA about 7
[ "$group" = all ] || need_gb=1
need_gb=${BOOK_NEED_GB:-$need_gb}

fail() {
    printf 'setup: %s\n' "$1" >&2
    exit 1
}

recent() {  # is this interpreter Python 3.11 or newer?
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    for name in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if command -v "$name" >/dev/null 2>&1 && recent "$name"; then
            printf '%s\n' "$name"
            return
        fi
    done
    return 1
}

if [ -x "$venv/bin/python" ] && ! recent "$venv/bin/python"; then
    fail "$venv holds a broken or old Python; remove it ('rm -r $venv') and retry."
fi

if [ ! -x "$venv/bin/python" ] || [ ! -x "$venv/bin/pip" ]; then
    python=$(find_python) || fail "Python 3.11 or newer is needed and none was found.
Install it (Debian: apt-get install python3 python3-venv; macOS: brew install python;
anywhere: python.org), or name it: make book PYTHON=/path/to/python3"

    free_gb=$(df -Pk . | awk 'NR == 2 { print int($4 / 1048576) }')
    [ "$free_gb" -ge "$need_gb" ] || fail "about $need_gb GB of free disk are needed \
here, $free_gb GB are left. Free some, or move the folder to a larger disk."

    "$python" -c 'import venv, ensurepip' >/dev/null 2>&1 || fail "$python has no \
module 'venv' with pip. On Debian and Ubuntu: apt-get install python3-venv"

    printf 'Creating %s with %s\n' "$venv" "$("$python" --version)"
    "$python" -m venv "$venv" ||
        fail "could not create $venv; remove it and try again."
fi

list=requirements.txt
if [ "$group" = pages ]; then
    list=$venv/pages.txt
    awk '/^# the pages/ { on = 1 } /^$/ { on = 0 } on' requirements.txt > "$list"
    printf 'Installing what builds the pages into %s (about a minute the first time)\n' "$venv"
else
    if [ "$(uname -s 2>/dev/null)" = Linux ] && [ -z "${PIP_EXTRA_INDEX_URL:-}" ] &&
        ! command -v nvidia-smi >/dev/null 2>&1; then
        printf 'No NVIDIA card seen: to save gigabytes, stop this and set PIP_EXTRA_INDEX_URL \
to the index of CPU builds that pytorch.org names under "Get started".\n'
    fi
    printf 'Installing requirements.txt into %s (a few minutes the first time)\n' "$venv"
fi
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --requirement "$list" || fail "the installation did not finish: its
reason is above. Is there a network, and disk left? Run the command again to go on."
touch "$venv/.pages"
[ "$group" = pages ] || touch "$venv/.installed"
