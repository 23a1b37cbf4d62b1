#!/bin/sh
# Makes .venv at the versions of constraints.txt: `setup.sh run` with what the workbench needs to run, `setup.sh dev` with
# what tests and checks need as well. `make` calls it when that has to be done; it can be run again at any time. PYTHON
# names the Python to use (default: the newest suitable).
set -eu
cd "$(dirname "$0")/.."
part=${1:-dev}

fail() {
    printf '\nsetup: %s\n' "$1" >&2
    shift
    for line in "$@"; do printf '  → %s\n' "$line" >&2; done
    exit 1
}
if [ "$(id -u)" = 0 ]; then apt='apt-get update && apt-get install -y'; else apt='sudo apt-get install -y'; fi
has_apt() { command -v apt-get >/dev/null 2>&1; }

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
makes_venvs() { "$1" -c 'import ensurepip, venv; ensurepip.version()' >/dev/null 2>&1; }
minor_version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }

# A name may be there and yet not work (a version manager's shim): each candidate is tried.
find_python() {
    found='' without_venv='' too_old=''
    if [ -n "${PYTHON:-}" ]; then candidates=$PYTHON; else
        candidates='python3.13 python3.12 python3.11 python3 /usr/bin/python3'
    fi
    for candidate in $candidates; do
        "$candidate" -c '' >/dev/null 2>&1 || continue
        if ! new_enough "$candidate"; then
            too_old=$candidate
        elif ! makes_venvs "$candidate"; then
            without_venv=${without_venv:-$candidate}
        else
            found=$candidate
            return
        fi
    done
}

explain_missing_python() {
    if [ -n "$without_venv" ]; then
        version=$(minor_version "$without_venv")
        package=python3-venv
        [ "$(minor_version /usr/bin/python3 2>/dev/null)" = "$version" ] || package=python$version-venv
        has_apt && fail "Python $version is here, but not its venv package." "install it: $apt $package"
        fail "Python $version is here, but without its modules venv and ensurepip." "install them with your package manager"
    fi
    if [ -n "$too_old" ]; then
        set -- "Python 3.11 or later is needed; $too_old is $(minor_version "$too_old")."
    elif [ -n "${PYTHON:-}" ]; then
        fail "PYTHON=$PYTHON does not run." "leave it out, or name a Python 3.11 or later"
    else
        set -- "Python 3.11 or later is needed, and there is no python3 here."
    fi
    if has_apt && [ -z "$too_old" ]; then
        fail "$1" "install it: $apt python3 python3-venv"
    elif has_apt; then
        fail "$1" "install a later one beside it, where your release has it: $apt python3.11 python3.11-venv" \
            "or name one that is elsewhere: make PYTHON=/path/to/python3.12"
    fi
    fail "$1" "install it with your package manager, or name one: make PYTHON=/path/to/python3.12"
}

# What is there is used again, unless its Python has gone or is too old, or the checkout was moved (its commands name
# their folder). Without pyvenv.cfg its Python is the one it was made from, and that would get the packages.
usable_venv() {
    [ -f .venv/pyvenv.cfg ] && [ -x .venv/bin/python ] && new_enough .venv/bin/python || return 1
    .venv/bin/python -m pip --version >/dev/null 2>&1 || return 1
    [ ! -f .venv/.installed-run ] || [ "$(cat .venv/.installed-run)" = "$(pwd -P)" ]
}

if ! usable_venv; then
    [ ! -L .venv ] || fail ".venv is a link to $(readlink .venv), which belongs to another checkout." \
        "remove the link, or run make there"
    find_python
    [ -n "$found" ] || explain_missing_python
    printf 'setup: making .venv with Python %s (%s)\n' "$(minor_version "$found")" "$(command -v "$found")"
    "$found" -m venv --clear .venv || fail "the virtual environment could not be made; see above." \
        "is there space, and may you write in $(pwd -P)?"
fi
rm -f .venv/.installed-*
# Compiled beside the downloads: where nothing may be written later, each start would compile it all again.
.venv/bin/python -m compileall -q workbench >/dev/null 2>&1 &
.venv/bin/python scripts/install.py "$part"
wait
pwd -P >.venv/.installed-run
[ "$part" = run ] || cp .venv/.installed-run .venv/.installed-dev
