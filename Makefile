# All targets work on a machine with Python 3.11+, make and git: the first one called installs what it needs.
PYTHON ?= python3
DATA_DIR ?= var/demo
DEMO = --process processes/cart.toml --history $(DATA_DIR)/history --data-dir $(DATA_DIR)
BIN = .venv/bin
export UV_PYTHON_DOWNLOADS = never
export UV_PROJECT_ENVIRONMENT = .venv

<<<<<<< HEAD
.PHONY: help install demo dev test check format bench bench-features bench-simulator clean
=======
.PHONY: help install demo dev test check format bench bench-features bench-results clean
>>>>>>> results

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/ -/'

.venv/.ready: uv.lock pyproject.toml requirements-uv.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.txt
	$(BIN)/uv sync --frozen --inexact --quiet
	@touch $@

install: .venv/.ready ## install everything into .venv, versions pinned by uv.lock

$(DATA_DIR)/history: | .venv/.ready
	$(BIN)/batchguard simulate --batches 600 --in-progress 12 --out $(DATA_DIR)

demo: .venv/.ready $(DATA_DIR)/history ## simulate a plant, train, score its batches in progress
	$(BIN)/batchguard run $(DEMO) --json $(DATA_DIR)/result.json

dev: .venv/.ready ## Dagster UI with its daemon and MLflow UI on loopback, on the demo's data; Ctrl-C stops both
	@test -d $(DATA_DIR)/history || $(MAKE) --no-print-directory demo
	$(BIN)/batchguard dev $(DEMO) --as-of history

test: .venv/.ready ## the whole test suite
	$(BIN)/python -m pytest

check: .venv/.ready ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/ty check features models serving pipelines

format: .venv/.ready ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

<<<<<<< HEAD
bench: bench-features bench-simulator ## all measurements
=======
bench: bench-features bench-results ## all measurements
>>>>>>> results

bench-features: .venv/.ready ## features beside the fastest scan of the same columns
	$(BIN)/uv sync --frozen --inexact --quiet --group bench
	$(BIN)/python -m benchmarks.bench_features

<<<<<<< HEAD
bench-simulator: .venv/.ready ## the simulated plant: kinetics, rows written, memory
	$(BIN)/python -m benchmarks.bench_simulator
=======
bench-results: .venv/.ready ## the whole product on public data sets, where BATCHGUARD_REAL_DATA names them
	$(BIN)/python -m benchmarks.bench_results
>>>>>>> results

clean: ## remove the demo's data
	rm -rf $(DATA_DIR)
