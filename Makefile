# Two commands do everything on a fresh machine: `make demo` and `make test`.

export PATH := $(HOME)/.cargo/bin:$(PATH)

.PHONY: help setup demo test bench

help:
	@echo 'make demo    see real alerts for pictures dropped into a folder (installs what it needs)'
	@echo 'make test    the whole test suite (installs what it needs)'
	@echo 'make bench   time from a closed file to its alert, beside the bare model'
	@echo 'make setup   only install what is needed to build and run'

setup:
	@tools/setup.sh demo

demo: setup
	@cargo build --release --locked
	@python3 tools/demo.py

bench: setup
	@cargo bench --locked

test:
	@tools/setup.sh test
	@tools/test.sh
