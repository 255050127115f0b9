# make run    start ragd in the foreground (without DISCORD_BOT_TOKEN: the demo)
# make test   all tests but those of `make faults`, three at a time (JOBS=1: one after the other)
# make lint   ruff and mypy
# make lock   pin what ragd runs on in requirements.lock, as setup.cfg asks (UPGRADE=1: the newest)
# make audit  look the pinned versions up among known vulnerabilities; asks a service on the internet
# make bench  measure, and print what goes into BENCHMARKS.md
# make soak   the property tests again, at random and ten times as many (SOAK=100: a hundred times)
# make fuzz   the fuzz tests again, at random and ten times as many inputs (FUZZ=100: a hundred times), then atheris
# make faults hurt a running tree in every way there is a test for, and print how soon it is well again
# sudo make install      ragd as a system service: /opt/ragd, systemd units, /etc/ragd
# sudo make uninstall    take that away, except data and settings; with PURGE=1 those too
PYTHON ?= python3
JOBS   ?= 3
SOAK   ?= 10
FUZZ   ?= 10
FUZZ_SECONDS ?= 60
VENV   := .venv
BIN    := $(VENV)/bin
# What the service runs on, whatever python3 means to who calls us; PREFIX and DESTDIR as everywhere.
SYSTEM_PYTHON ?= /usr/bin/python3
PREFIX ?= /opt/ragd
DESTDIR ?=
LOCK ?=
PURGE ?=
UPGRADE ?=
BUILD  := setup.cfg pyproject.toml $(wildcard modelbuild/*.py modelbuild/*.json)

.PHONY: run test lint format lock audit bench soak fuzz faults clean check-tools install uninstall

run: $(VENV)/.installed
	@exec $(BIN)/ragd

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(JOBS) $(TESTS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(VENV)/.installed-dev
	$(BIN)/python tools/lock.py $(if $(UPGRADE),--upgrade)

# In an environment of its own, which uv makes: what looks must not be among what is looked at.
audit: $(VENV)/.installed-dev
	$(BIN)/uv tool run pip-audit --disable-pip --require-hashes --strict --requirement requirements.lock

bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks

soak: $(VENV)/.installed-dev
	SOAK=$(SOAK) $(BIN)/python -m pytest --timeout=0 -n $(JOBS) tests/property

fuzz: $(VENV)/.installed-dev
	FUZZ=$(FUZZ) $(BIN)/python -m pytest --timeout=0 -n $(JOBS) tests/fuzz
	-@$(BIN)/pip install --quiet --only-binary :all: atheris
	$(BIN)/python -m tests.fuzz $(FUZZ_SECONDS)

faults: $(VENV)/.installed-dev
	$(BIN)/python -m tests.faults $(FAULTS)

install:
	@$(MAKE) --no-print-directory check-tools PYTHON="$(SYSTEM_PYTHON)"
	@PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" SYSTEM_PYTHON="$(SYSTEM_PYTHON)" LOCK="$(LOCK)" deploy/systemd/install.sh install

uninstall:
	@PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" PURGE="$(PURGE)" deploy/systemd/install.sh uninstall

clean:
	rm -rf $(VENV) build *.egg-info ragd/model .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The stamps are what makes a second `make run` quick: nothing is installed again unless what decides it changed.
$(VENV)/.installed: $(BUILD) | $(BIN)/python
	$(BIN)/pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-dev: $(BUILD) | $(BIN)/python
	$(BIN)/pip install --quiet --editable ".[dev]"
	@touch $@ $(VENV)/.installed

$(BIN)/python:
	@$(MAKE) --no-print-directory check-tools
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip

define missing
{ echo "ragd: $(1). On Debian or Ubuntu: sudo apt-get install $(2)" >&2; exit 1; }
endef

check-tools:
	@command -v $(PYTHON) >/dev/null || $(call missing,$(PYTHON) was not found,python3)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || $(call missing,Python 3.11 or newer is needed,python3)
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || $(call missing,Python's venv module is missing,python3-venv)
	@command -v $${CXX:-c++} >/dev/null || $(call missing,no C++ compiler was found and hnswlib is built from source,g++)
	@$(PYTHON) -c 'import os, sysconfig, sys; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' \
		|| $(call missing,Python's headers are missing and hnswlib is built from source,python3-dev)
