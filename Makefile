# `make demo` and `make test` each set up all they need on a machine with only Python and make; a second call installs nothing.
PYTHON ?= python3
VENV ?= .venv
READY := $(VENV)/.ready

.PHONY: demo test check docs package clean

demo: $(READY)
	$(VENV)/bin/ssvid demo

# three processes for two cores, since many tests wait for processes that they start
test: check
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 3 --dist worksteal

check: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# the mark is newer than what it was made from, so a changed dependency installs again
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,ray,export,docs,remote]'
	touch $(READY)

docs: $(READY)
	PYTHONPATH=. NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict

# wheel and source archive in dist/, checked, with the licences of everything that is installed with them
package: $(READY)
	rm -rf dist build
	$(VENV)/bin/python -m build
	$(VENV)/bin/twine check --strict dist/*
	$(VENV)/bin/pip-licenses --format=markdown --with-urls --output-file=dist/LICENCES.md

clean:
	rm -rf $(VENV) ssvid-demo site dist build
