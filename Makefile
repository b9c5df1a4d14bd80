# Start with `make demo` and `make test`; both create .venv first. `make help` lists all targets.

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
# One thread per process, else torch oversubscribes the cores. Test files are not split: they share fixtures.
JOBS ?= 2
PARALLEL := -n $(JOBS) --dist loadfile
BENCH_ARGS ?=
SCALE_ARGS ?=
COUNTS_ARGS ?=
WHEEL_ARGS ?=
VERSIONS ?=
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
# torch and torchvision must match, or every run dies with "operator torchvision::nms does not exist".
PINS := torch==2.15.0 torchvision==0.29.2 ultralytics==8.4.190

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-full test-versions test-ray test-tracking test-wheel bench scale counts defects docs lint check lock clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z-]+):.*## /\1\t/' | while IFS="$$(printf '\t')" read -r t d; do printf '  make %-13s %s\n' "$$t" "$$d"; done

setup: $(STAMP) ## create .venv from the pins in constraints.txt (about 2 minutes and 6 GB; does nothing if up to date)

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found. Install Python 3.11 or newer, or pass its path: make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$$($(PYTHON) -V) is too old: Python 3.11 or newer is required. Pass one: make PYTHON=python3.12" >&2; exit 1; }
	@echo "Creating $(VENV) from constraints.txt (once; a few minutes, 6 GB) ..."
	@if [ -x $(BIN)/python ]; then true; \
	elif $(PYTHON) -c 'import ensurepip' 2>/dev/null; then $(PYTHON) -m venv $(VENV); \
	else $(PYTHON) -m venv --without-pip $(VENV); fi
	@if $(BIN)/python -c 'import pip' 2>/dev/null; then pip="$(BIN)/python -m pip"; else pip="$(PYTHON) -m pip --python $(BIN)/python"; fi; \
	$$pip --disable-pip-version-check install -qq -c constraints.txt -e '.[dev]'
	@touch $(STAMP)

demo: setup ## train detection and pose, healthy and with an injected NaN; then run a four-arm benchmark with report
	@$(BIN)/python -m yolo_stability.cli.demo
	@YOLO_OFFLINE=true YOLO_AUTOINSTALL=false $(BIN)/yolo-stability benchmark suite=demo jobs=$(JOBS)

test: setup ## run unit and contract tests and a few trainings (5 minutes)
	@$(BIN)/python -m pytest -q -m "not full" $(PARALLEL) $(PYTEST_ARGS)

test-full: setup ## run the other trainings, notebooks, kills, full disks, big traces and datasets (half an hour)
	@$(BIN)/python -m pytest -q -m full --durations=25 $(PARALLEL) $(PYTEST_ARGS)

test-versions: setup ## test compatibility with older Ultralytics and the newest (VERSIONS="8.4.60 ..." or --fast; half an hour)
	@$(BIN)/python tests/versions/run.py $(VERSIONS) -- $(PYTEST_ARGS)

test-ray: setup ## test executor=ray, with Ray installed in a folder next to .venv (300 MB; minutes)
	@$(BIN)/python tests/versions/with_extra.py ray $(PYTEST_ARGS)

test-tracking: setup ## test TensorBoard, W&B and MLflow, installed in a folder next to .venv (700 MB; minutes)
	@$(BIN)/python tests/versions/with_extra.py tracking $(PYTEST_ARGS)

test-wheel: setup ## run every command of README and docs from the built wheel, outside the clone (minutes)
	@$(BIN)/python tests/install/try_wheel.py $(WHEEL_ARGS)

bench: setup ## measure the overhead of recording per step (about 11 minutes; BENCH_ARGS="--quick" half a minute)
	@$(BIN)/python tests/benchmarks/bench.py $(BENCH_ARGS)

scale: setup ## measure how the overhead grows with steps, blocks and runs (about 5 minutes; SCALE_ARGS="--quick" a minute)
	@$(BIN)/python tests/benchmarks/scale.py $(SCALE_ARGS)

counts: setup ## count torch ops, host syncs, bytes and calls of a recorded step by part (half a minute; COUNTS_ARGS=--write pins them)
	@$(BIN)/python tests/benchmarks/counts.py $(COUNTS_ARGS)

defects: setup ## inject 40 one-line defects, one at a time, and check that a test detects each (an hour)
	@$(BIN)/python tests/defects/run_defects.py --touch --jobs $(JOBS)
	@$(BIN)/python tests/defects/run_defects.py --jobs $(JOBS)

docs: setup ## build the documentation into docs/site, offline (seconds)
	@$(BIN)/python docs/generate.py
	@$(BIN)/python -m zensical build --strict -f docs/zensical.toml

lint: setup ## run linter, format check, spelling, type check and import rules (a minute)
	@$(BIN)/ruff check -q .
	@$(BIN)/ruff format -q --check . || { echo "run: $(BIN)/ruff format ." >&2; exit 1; }
	@$(BIN)/codespell
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo --no-cache

check: lint ## lint, then all tests but the long ones
	@$(BIN)/python -m pytest -q -m "not full" $(PARALLEL) $(PYTEST_ARGS)

lock: setup ## regenerate constraints.txt with the PINS above
	@$(BIN)/python -m pip --disable-pip-version-check install -qq uv
	@printf '%s\n' $(PINS) > $(VENV)/pins.txt
	@$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --extra dev -c $(VENV)/pins.txt \
	  --no-header --no-annotate --no-emit-index-url --no-emit-find-links -o $(VENV)/constraints.out pyproject.toml
	@{ echo "# The stack this package was tried with; written by 'make lock'."; cat $(VENV)/constraints.out; } > constraints.txt

clean: ## remove .venv, caches and run folders
	@rm -rf docs/site docs/.cache docs/pages/generated $(VENV) runs dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
