# Two commands do everything on a fresh machine: `make demo` and `make test`.

export PATH := $(HOME)/.cargo/bin:$(PATH)
export PREFIX SYSCONFDIR DESTDIR BINARY ONNXRUNTIME

.PHONY: help setup demo test bench package test-package install uninstall long

help:
	@echo 'make demo    see real alerts for pictures dropped into a folder (installs what it needs)'
	@echo 'make test    the whole test suite (installs what it needs)'
	@echo 'make bench   time from a closed file to its alert, beside the bare model'
	@echo 'make setup   only install what is needed to build and run'
	@echo 'make package a Debian package, in target/debian'
	@echo 'make test-package  installs, upgrades and purges it in a clean Debian (as root)'
	@echo 'make install for other systems: below PREFIX=/usr/local; `make uninstall` takes it away again'
	@echo 'make long    the long forms of the tests: an hour or two, as root'

setup:
	@tools/setup.sh demo

demo: setup
	@cargo build --profile demo --locked
	@python3 tools/demo.py

bench: setup
	@cargo bench --locked

package:
	@tools/package.sh

install:
	@tools/install.sh install

uninstall:
	@tools/install.sh uninstall

test-package:
	@tools/test_package.sh

long: setup
	@tools/long.sh

test:
	@tools/setup.sh test
	@tools/test.sh
