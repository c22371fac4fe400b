# A fresh machine needs Python >= 3.11 with venv; everything else goes into .venv.
PYTHON ?= python3
VENV = .venv
IN = $(VENV)/bin/python
WORKDIR ?= runs/quick

.PHONY: install reproduce test lint

install: $(VENV)/installed

$(VENV)/installed: setup.cfg pyproject.toml requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(IN) -m pip install --quiet --upgrade pip
	$(IN) -m pip install --quiet --editable '.[test]'
	touch $@

reproduce: install
	$(IN) -m experiments.reproduce --quick --workdir=$(WORKDIR)

test: install
	$(IN) -m pytest

lint: install
	$(IN) -m ruff check .
	$(IN) -m ruff format --check .
