# Everything here works in a fresh clone: what it needs beside Rust, tests/env/setup brings.
.PHONY: help build test lint demo clean

help: ## Show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build target/release/vieter
	cargo build --release --locked

test: lint ## Run all tests, on real parts (engine, registry, git, pacman, makepkg)
	tests/env/setup
	cargo test --locked

lint: ## Check the formatting, and clippy without a warning
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings

demo: build ## See it work: a server, three Git repositories, two runs, the published repository
	tests/env/setup
	cargo build --locked --example standin
	tests/demo/run

clean: ## Remove what was built, and what the tests have set up
	cargo clean
	tests/env/teardown
