# A fresh machine needs Python >= 3.11 with venv; everything else goes into .venv.
PYTHON ?= python3
VENV = .venv
IN = $(VENV)/bin/python
WORKDIR ?= runs/quick

# By its name, or from pyenv; empty where there is none.
python = $(shell python$(1) --version > /dev/null 2>&1 && echo python$(1) \
  || { found=$$(pyenv prefix $(1) 2> /dev/null) && echo $$found/bin/python; })
PYTHON_OLDEST ?= $(call python,3.11)
PYTHON_NEWEST ?= $(call python,3.13)
# What is run with the oldest and with the newest packages: a little of everything.
PART = -n 2 --dist loadfile tests/survey/test_archive.py tests/verification/test_reliability.py \
  tests/verification/test_scores.py tests/report/test_scan_plots.py tests/training/test_fit.py tests/maps/test_transforms.py \
  tests/report/page/test_page.py \
  tests/observe/test_magnetogram.py tests/observe/test_averaging.py tests/observe/sources/test_frames.py \
  tests/observe/sources/test_jsoc.py tests/observe/building/test_cluster.py tests/simulate/test_disk_files.py \
  tests/interpret/test_compaction.py

.PHONY: install reproduce test test-oldest test-newest lint docs

install: $(VENV)/installed

$(VENV)/installed: setup.cfg pyproject.toml requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(IN) -m pip install --quiet --upgrade pip
	$(IN) -m pip install --quiet --editable '.[test]'
	touch $@

reproduce: install
	$(IN) -m experiments.reproduce --quick --workdir=$(WORKDIR)

test: install
	$(IN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-oldest:
	@$(if $(PYTHON_OLDEST),$(MAKE) --no-print-directory .venv-oldest/installed,echo 'Left out: there is no Python 3.11.')
	$(if $(PYTHON_OLDEST),.venv-oldest/bin/python -m pytest $(PART))

.venv-oldest/installed: setup.cfg pyproject.toml requirements.txt .ci/oldest.py
	$(PYTHON_OLDEST) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --upgrade pip
	.venv-oldest/bin/python -m pip install --quiet $$(.venv-oldest/bin/python .ci/oldest.py) --editable .
	touch $@

test-newest:
	@$(if $(PYTHON_NEWEST),$(MAKE) --no-print-directory .venv-newest/installed,echo 'Left out: there is no Python 3.13.')
	$(if $(PYTHON_NEWEST),.venv-newest/bin/python -m pytest $(PART))

.venv-newest/installed: setup.cfg pyproject.toml requirements.txt
	$(PYTHON_NEWEST) -m venv .venv-newest
	.venv-newest/bin/python -m pip install --quiet --upgrade pip
	.venv-newest/bin/python -m pip install --quiet --upgrade --upgrade-strategy eager --editable '.[test]'
	touch $@

lint: install
	$(IN) -m ruff check .
	$(IN) -m ruff format --check .

# The manual. Its tutorials run, but for HEARJAX_DOCS_EXECUTE=off.
docs: $(VENV)/docs
	$(IN) -m sphinx -W --keep-going -q docs docs/_build/html

$(VENV)/docs: $(VENV)/installed
	$(IN) -m pip install --quiet --editable '.[docs]'
	touch $@
