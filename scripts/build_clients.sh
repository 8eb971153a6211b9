#!/usr/bin/env bash
# Builds clients of registries that no distribution packages, from their Go modules, into .clients/bin.
# `make clients` runs them against the mirror. It takes Go, and minutes: no part of `make test`.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v go >/dev/null || { echo "clients: Go is needed to build them (https://go.dev/dl)" >&2; exit 1; }

modules=(
    github.com/google/go-containerregistry/cmd/crane@v0.21.5
    oras.land/oras/cmd/oras@v1.3.5
    helm.sh/helm/v3/cmd/helm@v3.22.0
    github.com/containerd/containerd/v2/cmd/ctr@v2.4.2
    github.com/containerd/containerd/v2/cmd/containerd@v2.4.2
)
export GOBIN=$PWD/.clients/bin
for module in "${modules[@]}"; do
    program=$(basename "${module%@*}")
    [ -x "$GOBIN/$program" ] || { echo "clients: building $module"; go install "$module"; }
done
