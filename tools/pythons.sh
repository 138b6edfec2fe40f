#!/bin/sh
# Prints the CPythons of this machine from 3.11 on, one of each minor version: "3.11 /path/to/python3.11".
# First `python3`, then the others. Searches PATH, and the versions of pyenv and uv.
set -u

describe='
import sys
version = "%d.%d" % sys.version_info[:2]
if sys.implementation.name == "cpython" and sys.version_info >= (3, 11) and sys.version_info.releaselevel == "final":
    print(version, getattr(sys, "_base_executable", None) or sys.executable)
'

in_path() { # every program of these names, not only the first: a shim may precede the real one in PATH
    for name in "$@"; do
        (
            IFS=:
            set -f
            for folder in $PATH; do
                if [ -x "$folder/$name" ]; then printf '%s\n' "$folder/$name"; fi
            done
        )
    done
}

in_folders() {
    for python in "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/*/bin/python3 \
        "${UV_PYTHON_INSTALL_DIR:-${XDG_DATA_HOME:-${HOME:-}/.local/share}/uv/python}"/*/bin/python3; do
        if [ -x "$python" ]; then printf '%s\n' "$python"; fi
    done
}

{
    in_path python3 python3.14 python3.13 python3.12 python3.11 python3.15 python
    in_folders
} | while IFS= read -r python; do
    "$python" -c "$describe" 2>/dev/null </dev/null
done | awk '!seen[$1]++'
