#!/usr/bin/env bash
# Renews requirements.lock from the newest versions that pyproject.toml allows, tried in an environment of their own.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"${PYTHON:-python3.11}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip --disable-pip-version-check install --quiet --editable '.[dev]'
{
    echo "# What a development environment is made of, for \`pip install --constraint\`: so that each fresh one is the same."
    echo "# Renewed by \`make lock\` (scripts/lock.sh), which takes the newest versions that pyproject.toml allows."
    "$scratch/venv/bin/python" -m pip freeze --exclude-editable
} >"$scratch/lock"
cp "$scratch/lock" requirements.lock
echo "lock: requirements.lock is renewed; run make test before committing it"
