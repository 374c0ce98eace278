# Everything here works in a fresh clone: what it needs beside Rust, tests/env/setup brings, but for an image, which takes an engine.
.NOTPARALLEL:
.PHONY: help build static install uninstall image setup test test-engines lint demo bench soak clean

# Of `make install`: where things go, which binary, and the day that the man page bears.
PREFIX = /usr/local
BINARY = target/static/vieter
DATE = $$(date -u -d "@$${SOURCE_DATE_EPOCH:-$$(date +%s)}" +%F)
ROOT = $(DESTDIR)$(PREFIX)
BASH = $(ROOT)/share/bash-completion/completions/vieter
FISH = $(ROOT)/share/fish/vendor_completions.d/vieter.fish
ZSH = $(ROOT)/share/zsh/site-functions/_vieter

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build target/release/vieter
	cargo build --release --locked

static: ## Build target/static/vieter, one static file for any Linux of this architecture
	tests/env/static

target/static/vieter:
	tests/env/static

install: $(BINARY) ## Install the static binary, a man page and completions (PREFIX=/usr/local, DESTDIR)
	install -Dm755 '$(BINARY)' '$(ROOT)/bin/vieter'
	page=$$(awk -v date=$(DATE) -f src/install/man.awk Cargo.toml src/help.txt) && \
		printf '%s\n' "$$page" | install -Dm644 /dev/stdin '$(ROOT)/share/man/man1/vieter.1'
	install -Dm644 src/install/vieter.bash '$(BASH)'
	install -Dm644 src/install/vieter.fish '$(FISH)'
	install -Dm644 src/install/vieter.zsh '$(ZSH)'
	install -Dm644 README.md '$(ROOT)/share/doc/vieter/README.md'
	install -Dm644 LICENSE '$(ROOT)/share/licenses/vieter/LICENSE'

uninstall: ## Remove what make install has installed (with the same PREFIX and DESTDIR)
	rm -f '$(ROOT)/bin/vieter' '$(ROOT)/share/man/man1/vieter.1' '$(BASH)' '$(FISH)' '$(ZSH)'
	rm -rf '$(ROOT)/share/doc/vieter' '$(ROOT)/share/licenses/vieter'

image: static ## Build vieter:dev, the cron image
	tests/env/image

setup: # What the tests need beside Rust
	tests/env/setup

test: lint setup image ## Run all tests with the static binary, on real parts (engine, registry, git, pacman, makepkg)
	tests/env/test

test-engines: setup image ## Run a short list of the tests on today's engines, Docker 28, Podman 5.8, a Swarm (VIETER_TEST_ENGINES names fewer)
	tests/env/test-engines

lint: ## Check the formatting, clippy without a warning, shellcheck
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	tests/env/lint

demo: build ## See it work: one package and a list into a folder, then the same with a server, and what pacman sees
	cargo build --locked --example standin
	tests/demo/run

bench: static ## Measure the static binary against what a shell does with the same engine (BENCH_ROUNDS=5)
	tests/env/setup
	VIETER_TEST_BINARY=$(CURDIR)/target/static/vieter cargo bench --locked --bench bench

soak: static ## Run the static binary over and over with random faults and kills (VIETER_SOAK_MINUTES=60)
	tests/env/setup
	VIETER_TEST_BINARY=$(CURDIR)/target/static/vieter cargo bench --locked --bench soak

clean: ## Remove what was built, and what the tests have set up
	cargo clean
	tests/env/teardown
