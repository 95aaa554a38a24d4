# Everything here runs in .venv, made on first use; an active virtual environment is left alone.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOGGERS := $(VENV)/loggers
WORKERS ?= 2

# One thread a test process: the workers together fill the cores, and results do not move with them.
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1
ARGS ?=

unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install browser train test check format reference torture clusters bench gpu experiments clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*  ## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 12

install: $(STAMP)  ## make .venv and install what constraints.txt pins

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "error: Tunesmith needs Python 3.11 or newer, and $(PYTHON) is not; try: make $(or $(MAKECMDGOALS),install) PYTHON=python3.11" >&2; exit 5; }
	test -x $(BIN)/python || $(PYTHON) -m venv --clear $(VENV)
	@echo "installing into $(VENV); this takes a minute or two"
	$(BIN)/python -m pip install -qq -c constraints.txt -e '.[demo,dev,bench]'
	@touch $@

train: install  ## install if needed, then train the default model (ARGS='optimizer.lr=3e-5')
	$(BIN)/python train.py $(ARGS)

browser:  ## install chromium, in which the tests open reports
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing chromium"; apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null && exit 0; \
	fi; echo "the tests of the report need a browser: apt install chromium" >&2

test: install browser  ## run the tests (ARGS='-k wheel'), without the slow suites below
	$(TEST_ENV) $(BIN)/python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder -q -m "not torture and not cluster and not benchmark and not experiment" $(ARGS)

check: install  ## lint, formatting, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

reference: install  ## write docs/reference.md and the JSON schema from the typed options
	$(BIN)/python -m tunesmith.config.reference docs

format: install  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

torture: install  ## kills, faults and long repeats, one after the other
	$(TEST_ENV) $(BIN)/python -m pytest -q -m torture $(ARGS)

clusters: install  ## studies on SLURM, Ray, torchrun, W&B and MLflow that run, started here; as root, on Debian
	@if ! command -v slurmctld >/dev/null || ! command -v ip >/dev/null; then \
	  if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then echo "they need: apt install slurm-wlm munge iproute2" >&2; exit 5; fi; \
	  echo "installing slurm-wlm, munge and iproute2"; apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge iproute2 >/dev/null; \
	fi
	test -d $(LOGGERS) || $(BIN)/python -m pip install -qq -c constraints.txt --target $(LOGGERS) wandb mlflow-skinny
	$(TEST_ENV) TEST_LOGGERS=$(CURDIR)/$(LOGGERS) $(BIN)/python -m pytest -q -m cluster $(ARGS)

bench: install  ## measure speed, one after the other
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -q -s -m benchmark $(ARGS)

gpu: install  ## prove and measure runs on a GPU, in at most eight minutes (ARGS='--device cpu --tiny')
	$(BIN)/python tests/benchmarks/gpu.py $(ARGS)

experiments: install  ## train every experiment over three seeds, and see that it learns
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -q -s -m experiment $(ARGS)

clean:  ## remove .venv, caches and builds; runs/ stays
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
