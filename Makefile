# Two commands from nothing but python3 (3.11 or newer) and make:
#
#   make demo    creates .venv, installs sfumato, writes and edits texts, writes demo/demo.html
#   make test    the same, then passes the tests
#
# What they do works by hand too: see README.md for the forms with plain pip and with uv.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --constraint constraints.txt
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8

.DEFAULT_GOAL := help
.PHONY: help demo studio test slow browser lint types docs wheel check constraints lock audit clean

help:  ## what can be made
	@sed -n 's/^\([a-z]*\):.*## /make \1|/p' $(MAKEFILE_LIST) | column -t -s '|'

demo: $(VENV)/.core  ## install what is needed, then write demo/demo.html
	$(BIN)/sfumato demo --out demo

studio: $(VENV)/.core  ## install the server too, then open the studio in the browser
	$(PIP) --quiet --editable '.[serve]'
	$(BIN)/sfumato demo --open

test: $(VENV)/.test  ## the default tests: offline, without a GPU
	$(PYTEST)

slow: $(VENV)/.test  ## the tests that take more than a few seconds
	$(PYTEST) -m slow

browser: $(VENV)/.test  ## the tests that drive the studio in Chromium, which must be on the path
	$(PYTEST) -m browser

lint: $(VENV)/.lint  ## ruff and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.lint  ## mypy, strict
	$(BIN)/mypy

docs: $(VENV)/.docs  ## the manual, in docs/_build/html
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

wheel: $(VENV)/.core  ## build the wheel and import all of it in a clean environment
	$(PYTHON) tools/check_wheel.py build/wheel

check: lint types wheel docs test  ## everything that CI asks for

constraints: $(VENV)/.test $(VENV)/.lint $(VENV)/.docs  ## write constraints.txt from .venv
	$(BIN)/python tools/freeze.py > constraints.new && mv constraints.new constraints.txt

lock: $(VENV)/bin/python  ## write requirements.lock: what constraints.txt pins, with hashes
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --all-extras --constraints constraints.txt --universal \
		--python-version 3.11.5 --generate-hashes --no-annotate --quiet \
		--custom-compile-command 'make lock' --default-index https://pypi.org/simple \
		--output-file requirements.lock

audit: $(VENV)/bin/python  ## ask PyPI for known vulnerabilities of what requirements.lock pins
	$(BIN)/python -m pip install --quiet pip-audit
	$(BIN)/pip-audit --requirement requirements.lock --require-hashes --disable-pip --strict

clean:  ## remove everything that was made
	rm -rf $(VENV) build dist demo docs/_build .pytest_cache .mypy_cache .ruff_cache \
		.import_linter_cache .hypothesis .coverage
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Each file below says that a set of packages is installed; it is older than its causes when
# they change. pip can read dependency groups since 25.1.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit(sys.version_info < (3, 11) \
		and f"sfumato needs Python 3.11 or newer, $(PYTHON) is {v}: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'

$(VENV)/.core: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo 'Installing torch, transformers and what they need into $(VENV): a minute or two.'
	$(PIP) --editable .
	@touch $@

$(VENV)/.test $(VENV)/.lint $(VENV)/.docs: $(VENV)/.%: $(VENV)/.core
	$(PIP) --quiet --group $*
	@touch $@
