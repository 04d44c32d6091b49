# One entry for everything. `make demo` and `make test` set themselves up.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
MINUTES ?= 3
export OMP_NUM_THREADS ?= 1

.PHONY: demo test check docs setup bench bench-quality bench-codecs bench-hub bench-links bench-gain bench-evals bench-serve bench-site clean

demo: setup ## a hub, three members, a model trained, one member killed: MINUTES=3
	$(BIN)/commonweal demo --minutes $(MINUTES)

test: setup ## every test
	$(BIN)/pytest -n 2 --dist loadfile $(PYTEST_ARGS)

check: setup ## style, types, layers, and every test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) test

docs: setup ## the pages that are written from the code
	$(BIN)/python -m commonweal.evals.reference docs

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[torch,dev]'
	touch $@

bench: bench-codecs bench-hub bench-gain bench-links bench-evals bench-serve bench-site bench-quality ## every measurement, into bench/results.md

bench-%: setup
	$(BIN)/python bench/$*.py --out bench/data/$*.json
	$(BIN)/python bench/report.py

clean:
	rm -rf $(VENV) demo-run .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
