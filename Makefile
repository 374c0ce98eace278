# Everything here works in a fresh clone: what it needs beside Rust, tests/env/setup brings.
.PHONY: help build static image test lint demo bench clean

help: ## Show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build target/release/vieter
	cargo build --release --locked

static: ## Build target/static/vieter, one static file for any Linux of this architecture
	tests/env/static

image: static ## Build vieter:dev, the cron image
	tests/env/setup
	tests/env/image

test: lint image ## Run all tests, on real parts (engine, registry, git, pacman, makepkg)
	cargo test --locked
	VIETER_TEST_BINARY=$(CURDIR)/target/static/vieter cargo test --locked --test it -- job:: tls::

lint: ## Check the formatting, clippy without a warning, shellcheck
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	tests/env/lint

demo: build ## See it work: a server, three Git repositories, two runs, the published repository
	tests/env/setup
	cargo build --locked --example standin
	tests/demo/run

bench: static ## Measure the static binary against what a shell does with the same engine (BENCH_ROUNDS=5)
	tests/env/setup
	VIETER_TEST_BINARY=$(CURDIR)/target/static/vieter cargo bench --locked --bench bench

clean: ## Remove what was built, and what the tests have set up
	cargo clean
	tests/env/teardown
