# The two commands are `make demo` and `make test`; both install what they need, once.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
OUT    ?= runs/small
LOCK   := requirements/cpu.lock
CPU_WHEELS := https://download.pytorch.org/whl/cpu
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export TOKENIZERS_PARALLELISM := true

.DEFAULT_GOAL := help
.PHONY: install demo small small-esci test test-all browser lint typecheck bench bench-serving bench-quantization reliability clean help

install: $(VENV)/.installed ## Install the locked packages and the project into .venv
	@true

# --no-deps, because the lock is complete and two packages disagree on one pin (requirements/README.md).
$(VENV)/.installed: $(LOCK) pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "Python 3.11, 3.12 or 3.13 is needed: make PYTHON=python3.11 …"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --no-deps --no-compile -r $(LOCK) || $(BIN)/pip install -q --no-deps --no-compile --extra-index-url $(CPU_WHEELS) -r $(LOCK)
	$(BIN)/pip install -q --no-deps --no-build-isolation -e .
	@# Once, on all cores: the demo starts a dozen processes. Some packages carry files for other Pythons; those are skipped.
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib > /dev/null 2>&1 || true
	touch $@

demo: install ## Sample shop, both phases, evaluation, int8, vLLM server, report in runs/demo
	$(BIN)/gen-rerank demo --out runs/demo

# A killed training goes on with RESUME=--resume.
small: install ## A small decoder trained on DATA=folder into OUT=runs/small, and measured beside BM25
	@test -n "$(DATA)" || { echo "which data folder? make small DATA=my-shop (docs/data.md says how to make one)"; exit 1; }
	$(BIN)/gen-rerank train distributional --config small --data $(DATA) --out $(OUT) $(RESUME)
	$(BIN)/gen-rerank evaluate $(OUT) $(DATA)

# ESCI's substitutes are half relevant here: by the set's own gains they would stand next to the irrelevant.
small-esci: install ## The same of ESCI's pairs: PAIRS=pairs.jsonl.gz with the grades E, S, C and I
	@test -n "$(PAIRS)" || { echo "which pairs? make small-esci PAIRS=pairs.jsonl.gz"; exit 1; }
	$(BIN)/gen-rerank import $(PAIRS) $(OUT)-esci-data --format pairs --scale E=1,S=0.5,C=0.2,I=0 --split 0.8,0.1,0.1 --replace
	$(MAKE) small DATA=$(OUT)-esci-data OUT=$(OUT)-esci

test: install browser ## All tests but the slowest real ones, in two processes
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

test-all: install browser ## All tests, as CI runs them
	$(BIN)/python -m pytest $(PYTEST)

# The tests of the pages want Chromium. Without root or apt-get they skip, and the last line says so.
browser:
	@command -v chromium > /dev/null || test "$$(id -u)" != 0 || \
		{ apt-get update -q && apt-get install -q -y --no-install-recommends chromium; } > /dev/null 2>&1 || true

lint: install ## Style, docstrings, annotations, and which room may know which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

typecheck: install ## Static types
	$(BIN)/mypy

bench: install ## Side-by-side measurements, printed as ratios
	$(BIN)/python benchmarks/bench_training.py
	$(BIN)/python benchmarks/bench_scoring.py
	$(BIN)/python benchmarks/bench_step.py --shape nano
	$(BIN)/python benchmarks/bench_intervals.py

bench-serving: install ## Serving beside its peers at the 0.6B shape (40 minutes on two cores)
	$(BIN)/python benchmarks/serving.py --shape 0.6b --profile --out runs/serving-0.6b.json --markdown runs/serving-0.6b.md

bench-quantization: install ## Every scheme over three trainings, in one table (two hours on two cores)
	$(BIN)/python benchmarks/quantization.py quality --aware-scheme mxfp4 --document runs/quantization.md

reliability: install ## Overload, hostile input, dead engines, full disks (20 minutes)
	$(BIN)/python benchmarks/reliability.py --out runs/reliability.json

clean: ## Remove caches, runs and the environment
	rm -rf $(VENV) runs build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-19s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
