# Every target sets itself up: a virtual environment inside the tree, and in it what the target needs.
# A stamp file per set of packages depends on pyproject.toml, so the set-up runs again only when
# the dependencies may have changed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

# Two test workers share two cores: each keeps to one thread, or they would wait for each other.
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 \
	XLA_FLAGS="--xla_cpu_multi_thread_eigen=false $(XLA_FLAGS)"
WORKERS ?= 2

# What `make parity` compares: ops, modules or optim, and the options handed on.
SUITES ?= modules optim ops
PARITY_OPTIONS ?= --jobs 2
# Tests whose cases hypothesis draws; with FLAMBEAU_EXAMPLES, other ones each time.
DRAWN := tests/ops/test_index.py tests/ops/test_chains.py tests/nn/test_attention.py tests/nn/test_transformer.py \
	tests/nn/test_rnn.py tests/tensor/test_printing.py

.PHONY: help demo test thorough properties lint format bench parity clean

help:
	@echo "make demo    train four models on real data (about two minutes)"
	@echo "make test    lint, types and all tests"
	@echo "make properties  a hundred random configurations of each recurrent, attention and normalization layer,"
	@echo "             on each tier (some ten minutes)"
	@echo "make thorough  that, vmap of every operator compiled, and other drawn cases than usual (minutes more)"
	@echo "make lint    lint and types alone"
	@echo "make format  rewrite the sources as the formatter wants them"
	@echo "make bench   measure against PyTorch, side by side"
	@echo "make parity  count how many of PyTorch's own test samples give PyTorch's results"
	@echo "make clean   remove the virtual environment and everything generated"

$(BIN)/python:
	@$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: pyproject.toml | $(BIN)/python
	@echo "installing what the demo needs into $(VENV)"
	@$(PIP) install --editable '.[examples,xla]'
	@touch $@

$(VENV)/dev.stamp: pyproject.toml | $(BIN)/python
	@echo "installing what the tests need into $(VENV)"
	@$(PIP) install --editable '.[dev]'
	@touch $@ $(VENV)/demo.stamp

demo: $(VENV)/demo.stamp
	@$(BIN)/python examples/digits.py
	@$(BIN)/python examples/digits_training.py
	@$(BIN)/python examples/tagger.py
	@$(BIN)/python examples/language_model.py

lint: $(VENV)/dev.stamp
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/pyright

test: lint
	@$(ONE_THREAD) $(BIN)/python -m pytest --quiet -n $(WORKERS)

properties: $(VENV)/dev.stamp
	@FLAMBEAU_EXAMPLES=100 $(ONE_THREAD) $(BIN)/python -m pytest --quiet -n $(WORKERS) tests/nn/test_properties.py

thorough: test
	@$(ONE_THREAD) SAMPLES=all $(BIN)/python -m pytest --quiet -n $(WORKERS) tests/ops/test_mapped.py
	@FLAMBEAU_EXAMPLES=400 $(ONE_THREAD) $(BIN)/python -m pytest --quiet -n $(WORKERS) $(DRAWN)

format: $(VENV)/dev.stamp
	@$(BIN)/ruff check --quiet --fix
	@$(BIN)/ruff format --quiet

bench: $(VENV)/dev.stamp
	@$(BIN)/python -m benchmarks

parity: $(VENV)/dev.stamp
	@set -e; for suite in $(SUITES); do \
		$(BIN)/python tests/parity/parity.py $$suite --lib flambeau $(PARITY_OPTIONS); \
	done

clean:
	@rm -rf $(VENV) build dist *.egg-info examples/output .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
