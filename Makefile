# `make demo` and `make test` install what they need; `make help` lists every target.

export PATH := $(HOME)/.cargo/bin:$(PATH)
export PREFIX SYSCONFDIR DESTDIR BINARY ONNXRUNTIME

.PHONY: help setup demo test check stress bench package package-openvino test-package install uninstall long attacks

help:
	@echo 'make demo          real alerts for pictures that are dropped into a folder'
	@echo 'make test          the tests, as a normal user and without a network'
	@echo 'make check         every other check of the gate (.ci/run): lints, documentation, licences, units, installation'
	@echo 'make stress        the tests five times, while other processes keep the machine busy'
	@echo 'make long          the long forms of the tests: one or two hours, as root'
	@echo 'make attacks       every test that docs/security.md and docs/reliability.md name, and a table of the promises (part of make long)'
	@echo 'make bench         the time from a closed file to its alert, and of the model alone'
	@echo 'make setup         installs what is needed to build and run'
	@echo 'make package       a Debian package, in target/debian'
	@echo 'make package-openvino  the package stakeout-openvino, for Intel'\''s processors, GPUs and NPUs'
	@echo 'make test-package  installs, upgrades and purges the package in a clean Debian (as root)'
	@echo 'make install       for other systems, below PREFIX=/usr/local'
	@echo 'make uninstall     removes what `make install` has installed'

setup:
	@tools/setup.sh demo

demo: setup
	@cargo build --profile demo --locked
	@python3 tools/demo.py

test:
	@tools/setup.sh test
	@tools/test.sh

check:
	@tools/setup.sh gate
	@tools/test_all.sh

stress:
	@tools/setup.sh stress
	@tools/stress.sh

long: setup
	@tools/long.sh

attacks:
	@tools/setup.sh attacks
	@tools/attacks.py $(ATTACKS)

bench: setup
	@cargo bench --locked

package:
	@tools/package.sh

package-openvino: package
	@tools/package_openvino.sh

test-package:
	@tools/test_package.sh

install:
	@tools/install.sh install

uninstall:
	@tools/install.sh uninstall
