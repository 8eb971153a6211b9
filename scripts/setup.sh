#!/usr/bin/env bash
# Makes .venv with the project (editable), its development tools and console scripts. Needs Python >= 3.11 with venv.
# Nothing is done when the last run finished and neither the inputs nor the place of the checkout changed since.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv
stamp=$venv/.complete

fingerprint() {
    { pwd -P; cat pyproject.toml requirements.lock scripts/setup.sh; } | sha256sum
}

is_complete() {
    [ "$(cat "$stamp" 2>/dev/null)" = "$(fingerprint)" ] && "$venv/bin/python" -c '' 2>/dev/null
}

find_python() {
    local candidate without_venv=
    for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3.14 python3 /usr/bin/python3}; do
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
        if "$candidate" -c 'import venv, ensurepip' 2>/dev/null; then
            echo "$candidate"
            return
        fi
        without_venv=$candidate
    done
    if [ -n "$without_venv" ]; then
        echo "setup: $without_venv cannot make virtual environments (no venv or ensurepip module)." \
            "Install it: apt-get install python3-venv" >&2
    else
        echo "setup: no Python >= 3.11 found (tried ${PYTHON:-python3.11 to python3.14, python3})." \
            "Install it: apt-get install python3 python3-venv, or name one: make setup PYTHON=/path/to/python3" >&2
    fi
    return 1
}

is_complete && exit 0

# Two runs at once take turns; the second finds the work done.
exec 9>.setup.lock
if command -v flock >/dev/null; then flock 9; fi
is_complete && exit 0

python=$(find_python)
# Without the stamp of an earlier run what stands there may be half made; from another place its scripts point there.
if [ ! -e "$stamp" ] || ! "$venv/bin/python" -c '' 2>/dev/null || [ "$(cat "$venv/.place" 2>/dev/null)" != "$(pwd -P)" ]; then
    rm -rf "$venv"
    echo "setup: making $venv with $("$python" -c 'import sys; print(sys.executable, sys.version.split()[0])')"
    "$python" -m venv "$venv"
    pwd -P >"$venv/.place"
fi
rm -f "$stamp"
echo "setup: installing dependencies (requirements.lock)"
pip=("$venv/bin/python" -m pip --disable-pip-version-check install --quiet --constraint requirements.lock)
"${pip[@]}" hatchling editables
"${pip[@]}" --no-build-isolation --editable '.[dev]'
fingerprint >"$stamp"
echo "setup: done"
