#!/bin/sh
# Makes a virtual environment for this checkout, if it is missing or out of date.
#
#     tools/environment.sh NAME FOLDER EXTRA [PYTHON]
#
# Installs fifoq itself (editable) with the extra, at the versions of constraints.txt: with uv if it is installed, else
# with venv and pip. Each line on standard error begins with NAME. PYTHON, or the variable of that name, chooses the
# interpreter. A second run costs some milliseconds: a stamp in the folder records the inputs of the first.
set -eu

name=$1 folder=$2 extra=$3 chosen=${4:-${PYTHON:-}}
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
log=$folder.log

report() { printf '%s: %s\n' "$name" "$*" >&2; }

fail() {
    report "$@"
    exit 1
}

stamp() { # an environment contains absolute paths, so a checkout that was moved needs another one
    printf '%s\n' "$root" "$folder" "$extra" "$chosen"
    cat -- "$root/pyproject.toml" "$root/constraints.txt" "$root/tools/environment.sh" | cksum
}

usable() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

makes_environments() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

choose_python() { # prints the chosen one, else the first that can make environments, else the first, else nothing
    if [ -n "$chosen" ]; then
        usable "$chosen" || fail "PYTHON is '$chosen', which does not run, or is older than Python 3.11."
        command -v "$chosen"
        return
    fi
    sh "$root/tools/pythons.sh" | cut -d ' ' -f 2- | {
        first=
        while IFS= read -r each; do
            if makes_environments "$each"; then
                printf '%s\n' "$each"
                return
            fi
            first=${first:-$each}
        done
        printf '%s\n' "$first"
    }
}

with_uv() {
    uv venv --quiet --no-project --python "${python:->=3.11}" "$folder" &&
        cd -- "$root" &&
        uv pip install --quiet --python "$folder/bin/python" --constraint constraints.txt --editable ".[$extra]"
}

with_pip() {
    "$python" -m venv "$folder" &&
        cd -- "$root" &&
        "$folder/bin/python" -m pip install --quiet --no-input --disable-pip-version-check \
            --constraint constraints.txt --editable ".[$extra]"
}

make() { # METHOD, uv or pip: a fresh environment
    report "setting up $folder with ${python:-a Python of its own} and $1; this is done once and may take a minute"
    rm -rf -- "$folder"
    mkdir -p -- "$(dirname -- "$folder")"
    (with_"$1") >"$log" 2>&1 || {
        tail -n 20 -- "$log" >&2
        return 1
    }
}

if [ -x "$folder/bin/python" ] && [ "$(stamp)" = "$(cat -- "$folder/stamp" 2>/dev/null)" ]; then
    exit 0
fi
# A shell may have set these for other projects.
unset PYTHONPATH PYTHONHOME PIP_USER PIP_TARGET PIP_PREFIX PIP_REQUIRE_VIRTUALENV VIRTUAL_ENV

python=$(choose_python)
if command -v uv >/dev/null 2>&1; then
    if make uv; then
        stamp >"$folder/stamp"
        exit 0
    fi
    report "uv failed; trying pip"
fi
[ -n "$python" ] || fail "no Python from 3.11 on was found. Install one, or give its path: PYTHON=/path/to/it ./$name"
makes_environments "$python" || fail "$python cannot make virtual environments: its module venv or ensurepip is" \
    "missing. On Debian and Ubuntu, apt install python3-venv brings it. Or install uv."
make pip || fail "pip could not install the requirements; the end of its output is above, all of it in $log"
stamp >"$folder/stamp"
