# Two commands matter: `make demo` and `make test`. Each sets everything up by itself; `make help` lists the rest.

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
# Two processes of one thread each: torch would oversubscribe the cores by itself. Files stay whole, for their fixtures.
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

setup: $(STAMP) ## build .venv from the pins in constraints.txt (about 2 minutes and 6 GB; nothing to do the second time)

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not there; install Python 3.11 or newer, or name one: make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$$($(PYTHON) -V) is too old; Python 3.11 or newer is needed. Name one: make PYTHON=python3.12" >&2; exit 1; }
	@echo "Setting up $(VENV) from constraints.txt (once; minutes, 6 GB) ..."
	@if [ -x $(BIN)/python ]; then true; \
	elif $(PYTHON) -c 'import ensurepip' 2>/dev/null; then $(PYTHON) -m venv $(VENV); \
	else $(PYTHON) -m venv --without-pip $(VENV); fi
	@if $(BIN)/python -c 'import pip' 2>/dev/null; then pip="$(BIN)/python -m pip"; else pip="$(PYTHON) -m pip --python $(BIN)/python"; fi; \
	$$pip --disable-pip-version-check install -qq -c constraints.txt -e '.[dev]'
	@touch $(STAMP)

demo: setup ## detection and pose, undisturbed and with a NaN injected; then a benchmark of four arms with its report
	@$(BIN)/python -m yolo_stability.cli.demo
	@YOLO_OFFLINE=true YOLO_AUTOINSTALL=false $(BIN)/yolo-stability benchmark suite=demo jobs=$(JOBS)

test: setup ## run unit and contract tests and a few trainings (5 minutes)
	@$(BIN)/python -m pytest -q -m "not full" $(PARALLEL) $(PYTEST_ARGS)

test-full: setup ## run the other trainings, notebooks, kills, full disks, big traces and datasets (half an hour)
	@$(BIN)/python -m pytest -q -m full $(PARALLEL) $(PYTEST_ARGS)

test-versions: setup ## run the seam tests on older Ultralytics and the newest (VERSIONS="8.4.60 ..." or --fast; half an hour)
	@$(BIN)/python tests/versions/run.py $(VERSIONS) -- $(PYTEST_ARGS)

test-ray: setup ## run the tests of executor=ray, with Ray in a folder beside .venv (300 MB; minutes)
	@$(BIN)/python tests/versions/with_extra.py ray $(PYTEST_ARGS)

test-tracking: setup ## read numbers back from TensorBoard, W&B and MLflow, in a folder beside .venv (700 MB; minutes)
	@$(BIN)/python tests/versions/with_extra.py tracking $(PYTEST_ARGS)

test-wheel: setup ## run every line that README and docs print, from the built wheel, outside the clone (minutes)
	@$(BIN)/python tests/install/try_wheel.py $(WHEEL_ARGS)

bench: setup ## measure what watching costs a step (about 11 minutes; BENCH_ARGS="--quick" half a minute)
	@$(BIN)/python tests/benchmarks/bench.py $(BENCH_ARGS)

scale: setup ## measure how cost grows with steps, blocks and runs (about 5 minutes; SCALE_ARGS="--quick" a minute)
	@$(BIN)/python tests/benchmarks/scale.py $(SCALE_ARGS)

counts: setup ## count torch ops, host syncs, bytes and calls of a watched step by part (half a minute; COUNTS_ARGS=--write pins them)
	@$(BIN)/python tests/benchmarks/counts.py $(COUNTS_ARGS)

defects: setup ## seed 40 one-line defects, one at a time, and check that a test catches each (an hour)
	@$(BIN)/python tests/defects/run_defects.py --touch --jobs $(JOBS)
	@$(BIN)/python tests/defects/run_defects.py --jobs $(JOBS)

docs: setup ## build the documentation into docs/site, offline (seconds)
	@$(BIN)/python docs/generate.py
	@$(BIN)/python -m zensical build --strict -f docs/zensical.toml

lint: setup ## lint, format, types, import rules (a minute)
	@$(BIN)/ruff check -q .
	@$(BIN)/ruff format -q --check . || { echo "run: $(BIN)/ruff format ." >&2; exit 1; }
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo --no-cache

check: lint ## lint, then all tests but the long ones
	@$(BIN)/python -m pytest -q -m "not full" $(PARALLEL) $(PYTEST_ARGS)

lock: setup ## write constraints.txt anew, with PINS as they stand above
	@$(BIN)/python -m pip --disable-pip-version-check install -qq uv
	@printf '%s\n' $(PINS) > $(VENV)/pins.txt
	@$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --extra dev -c $(VENV)/pins.txt \
	  --no-header --no-annotate --no-emit-index-url --no-emit-find-links -o $(VENV)/constraints.out pyproject.toml
	@{ echo "# The stack this package was tried with; written by 'make lock'."; cat $(VENV)/constraints.out; } > constraints.txt

clean: ## remove .venv, caches and run folders
	@rm -rf docs/site docs/.cache docs/pages/generated $(VENV) runs dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
