#!/usr/bin/env bash
# Installs the real parts that tests run (tests/real-parts.txt), and only those whose programs are missing.
# Where that is not possible the tests that need them are skipped, each with its reason.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin

has_all() {
    local program
    for program in "$@"; do command -v "$program" >/dev/null || return 1; done
}

missing=()
while IFS=: read -r package programs; do
    # shellcheck disable=SC2086  # one word per program
    has_all $programs || missing+=("$package")
done < <(grep -v '^#' tests/real-parts.txt)

[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "parts: not installed (that takes root on Debian): ${missing[*]}; tests that need them are skipped"
    exit 0
fi

# Tests start what they need themselves: installing a part must start no service on this machine.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi

echo "parts: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt=(apt-get -qq -y -o Acquire::Retries=3 -o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30 -o DPkg::Lock::Timeout=300)
"${apt[@]}" update
# --no-remove: a machine's own container engine is never replaced for the sake of a test.
"${apt[@]}" install --no-install-recommends --no-remove "${missing[@]}" >/dev/null
