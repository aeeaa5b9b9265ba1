# All targets work on a machine with Python 3.11+, make and git: the first one called installs what it needs.
PYTHON ?= python3
DATA_DIR ?= var/demo
PLANT = $(DATA_DIR)/plant
DEMO = --process processes/cart.toml --history $(PLANT)/history --data-dir $(DATA_DIR)
SIMULATE ?= --batches 600 --in-progress 12 --base-rate 0.08 --seed 56
DAGSTER_PORT ?= 3000
MLFLOW_PORT ?= 5000
PORT ?= 8080
BIN = .venv/bin
export UV_PYTHON_DOWNLOADS = never
export UV_PROJECT_ENVIRONMENT = .venv
# a plant's network may have a certificate authority of its own, which the system trusts and uv's own list does not
export UV_SYSTEM_CERTS ?= true

.PHONY: help install demo dev serve test check format bench bench-features bench-simulator bench-results bench-public bench-forest bench-house bench-sources bench-field bench-serving bench-mlflow bench-model bench-release clean

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/ -/'

.venv/.ready: uv.lock pyproject.toml requirements-uv.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.txt
	$(BIN)/uv sync --frozen --inexact --quiet
	@touch $@

install: .venv/.ready ## install everything into .venv, versions pinned by uv.lock

# A plant with some trouble: 7.8 % of its batches fail, and a bad lot is among those in progress (docs/simulator.md).
$(PLANT)/history: | .venv/.ready
	$(BIN)/batchguard simulate $(SIMULATE) --out $(PLANT)

demo: .venv/.ready $(PLANT)/history ## simulate a plant, train, score its batches in progress
	$(BIN)/batchguard run $(DEMO) --as-of history --release-as-demo --json $(DATA_DIR)/result.json

dev: .venv/.ready ## Dagster UI with its daemon and MLflow UI on loopback, on the demo's data; Ctrl-C stops both
	@$(BIN)/python -m pipelines.ports DAGSTER_PORT=$(DAGSTER_PORT) MLFLOW_PORT=$(MLFLOW_PORT)
	@test -d $(PLANT)/history || $(MAKE) --no-print-directory demo
	$(BIN)/batchguard dev $(DEMO) --as-of history --dagster-port $(DAGSTER_PORT) --mlflow-port $(MLFLOW_PORT)

test: .venv/.ready ## the whole test suite
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: .venv/.ready ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/ty check features models serving pipelines tests benchmarks examples

format: .venv/.ready ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: bench-features bench-simulator bench-results bench-public bench-forest bench-house bench-sources bench-field bench-serving bench-model bench-release ## all measurements

bench-mlflow: .venv/.ready $(PLANT)/history ## pictures of MLflow's pages in a real browser
	$(BIN)/uv sync --frozen --inexact --quiet --group bench
	$(BIN)/python -m benchmarks.mlflow_pages --history $(PLANT)/history

bench-features: .venv/.ready ## features beside the fastest scan of the same columns
	$(BIN)/uv sync --frozen --inexact --quiet --group bench
	$(BIN)/python -m benchmarks.bench_features

bench-simulator: .venv/.ready ## the simulated plant: kinetics, rows written, memory
	$(BIN)/python -m benchmarks.bench_simulator

bench-results: .venv/.ready ## the whole product on public data sets, where BATCHGUARD_REAL_DATA names them
	$(BIN)/python -m benchmarks.bench_results

bench-public: .venv/.ready ## the product, plain trees and plain deviations on IndPenSim in repeated folds, where BATCHGUARD_REAL_DATA names it
	$(BIN)/python -m benchmarks.bench_public

bench-model: .venv/.ready ## the predictor on six simulated plants, against their truth: two hours
	$(BIN)/python -m benchmarks.bench_model

bench-forest: .venv/.ready ## our forest beside LightGBM on the same rows: seconds
	$(BIN)/python -m benchmarks.bench_forest

bench-sources: .venv/.ready ## generated folders with the faults of real exports through init, CSV and Parquet
	$(BIN)/python -m benchmarks.bench_sources

bench-field: .venv/.ready ## the field replay on public data beside rivals: BATCHGUARD_REAL_DATA names them
	$(BIN)/python -m benchmarks.bench_field

bench-house: .venv/.ready ## size and structure of the code beside those of 0.1.0: two minutes
	$(BIN)/python -m benchmarks.bench_house

bench-serving: .venv/.ready ## the scoring endpoint: latency, outages, kills, clocks, cases; PARTS="--part kills --times 20" runs a part
	$(BIN)/python -m benchmarks.bench_serving $(PARTS)

serve: .venv/.ready ## the scoring endpoint on loopback, on the demo's data; Ctrl-C stops it
	@$(BIN)/python -m pipelines.ports PORT=$(PORT)
	@test -d $(DATA_DIR)/mlartifacts || $(MAKE) --no-print-directory demo
	$(BIN)/batchguard serve --process processes/cart.toml --data-dir $(DATA_DIR) --port $(PORT)

bench-release: .venv/.ready ## kills, races, mutations and tamperings of a release; PARTS="--part signing --races 50" runs a part
	$(BIN)/python -m benchmarks.bench_release $(PARTS)

clean: ## remove the demo's data
	rm -rf $(DATA_DIR)
