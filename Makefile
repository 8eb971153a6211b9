# `make demo` and `make test` set up what they need. .ci/run calls these two.
.DEFAULT_GOAL := help
.NOTPARALLEL:
SHELL := /bin/bash

BIN := .venv/bin
PACKAGES := swarm scheduler dfdaemon benchmarks
TYPED := $(PACKAGES) damselfly_launcher.py scripts/generate_proto.py tests/conftest.py tests/tidy
LAYERS := unit property contract simulation tidy e2e
LAYER_TARGETS := $(LAYERS:%=test-%)
PYTEST := $(BIN)/python -m pytest --durations=5 --durations-min=1.0

.PHONY: help setup demo test check simulate-nightly profile parts clients format proto lock clean $(LAYER_TARGETS)

help: ## show this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22
	@echo "  make test-LAYER     run one layer of the tests: $(LAYERS)"

setup: ## make .venv with everything in it; quick when nothing changed
	@scripts/setup.sh

demo: setup ## five daemons pull one image through the swarm, on this machine, without root
	$(BIN)/python -m benchmarks demo

test: setup check parts $(LAYER_TARGETS) ## check, then all tests, layer by layer

check: setup ## format, lint, types, import contracts, generated code up to date
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python scripts/generate_proto.py --check
	$(BIN)/lint-imports
	$(BIN)/mypy $(TYPED)

simulate-nightly: setup ## simulate faults over 200 seeds each (SEEDS=1-200), compiled, on all cores; about half an hour on two
	$(BIN)/python -m benchmarks nightly --seeds $(or $(SEEDS),1-200)

profile: setup ## where the time goes: a flame graph (SVG) of each path of dfbench bytes, into PROFILE=build/profile
	$(BIN)/python -m benchmarks bytes --turns 3 --profile $(or $(PROFILE),build/profile)

parts: ## install the real parts that tests run (root on Debian; elsewhere their tests are skipped)
	@scripts/install_test_parts.sh

clients: setup parts ## run containerd 2, crane, oras and helm, built with Go, against the mirror (minutes; not in test)
	@scripts/build_clients.sh
	$(PYTEST) tests/clients/check_clients.py

$(LAYER_TARGETS): test-%: setup
	$(PYTEST) tests/$*

format: setup ## format, and mend what ruff can mend
	$(BIN)/ruff check --fix-only --exit-zero .
	$(BIN)/ruff format .

proto: setup ## generate swarm/rpc from proto/damselfly/v1
	$(BIN)/python scripts/generate_proto.py

lock: ## renew requirements.lock: the newest versions that pyproject.toml allows
	@scripts/lock.sh

clean: ## remove everything that make has made
	rm -rf .venv .setup.lock .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
