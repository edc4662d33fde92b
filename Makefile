# Tollgate. `make help` lists what there is; each target is a few lines, and the work is in scripts/.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# The targets share a build directory, and cargo uses all cores by itself.
.NOTPARALLEL:
.PHONY: help setup wasm run test bench lint fmt clean

# Options for `make run` and `make test`: make run ARGS="--envoy-port 10001", make test ARGS="--only native"
ARGS ?=

help: ## This list
	@echo "usage: make TARGET"
	@echo
	@sed -nE 's/^([a-z]+):[^#]*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 10

setup: ## Bring what this machine lacks: wasm toolchain, Envoy, and what the tests need (into .tools)
	@scripts/setup

wasm: ## Build the filter: dist/tollgate.wasm
	@scripts/setup run
	@scripts/wasm

run: wasm ## Start everything on this machine: Envoy, control plane, issuer, example backend (Ctrl-C stops it)
	@echo "run: building the control plane"
	@cargo build --quiet --release -p tollgate
	@exec scripts/run $(ARGS)

test: ## Run every test, on both supported versions of Envoy
	@scripts/setup
	@scripts/wasm
	@scripts/test $(ARGS)

bench: ## Measure the stages of a decision, the filter beside Envoy's own, the control plane, a fleet (writes BENCHMARKS.md)
	@scripts/setup
	@scripts/wasm
	@cargo build --quiet --release -p tollgate
	@scripts/bench

lint: ## Check formatting, sources, documentation, scripts and licences
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --quiet
	@if command -v shellcheck >/dev/null; then \
	  shellcheck -x $$(ls scripts/* | grep -v "\.txt$$") .ci/run envoy/docker-compose/start-envoy; \
	else \
	  echo "lint: shellcheck is not installed, so the scripts are not checked"; \
	fi
	@if cargo deny --version >/dev/null 2>&1; then \
	  cargo deny check; \
	else \
	  echo "lint: cargo-deny is not installed, so licences and advisories are not checked (cargo install cargo-deny)"; \
	fi

fmt: ## Format all sources
	cargo fmt --all

clean: ## Remove what was built; .tools and .tollgate (the development store) stay
	cargo clean
	rm -rf dist
