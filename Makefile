# The common tasks. `make help` lists them. To use an environment of your own (conda, uv, ...):
#     make SETUP=no VENV=$CONDA_PREFIX
# Without a GPU: make CPU=yes takes PyTorch's builds for the CPU, without 4 GB of CUDA libraries (Linux).
# Jobs are forks of a process that has torch loaded (Linux); PRELOAD=no: each is a process of its own.
PYTHON ?= python3.11
VENV   ?= .venv
SETUP  ?= yes
CPU    ?= no
PRELOAD ?= yes
CORES  ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
TARGET ?= results/table2.csv
ARGS   ?=

BIN := $(abspath $(VENV))/bin
RUN := PATH="$(BIN):$$PATH"
PIP := $(VENV)/bin/python -m pip install --disable-pip-version-check
CPU_WHEELS := https://download.pytorch.org/whl/cpu
ifeq ($(SETUP),yes)
ENV := $(VENV)/.complete
else
ENV :=
endif

export BARS_PRELOAD := $(PRELOAD)

.DEFAULT_GOAL := main
.PHONY: main all test test-all lint types format dvc report adopt verify orphans clean environment lock help

main: $(ENV)             ## the environment and the main job (TARGET=results/table2.csv, CORES=all, ARGS=further options)
	$(RUN) snakemake --cores $(CORES) $(TARGET) $(ARGS)

all: $(ENV)              ## every table and figure of the active scale
	$(RUN) snakemake --cores $(CORES) all $(ARGS)

test: $(ENV)             ## the tests of every change (all but the slow ones)
	$(RUN) python -m pytest -n 2 -m "not slow" $(ARGS)

test-all: $(ENV)         ## the slow tests too: killed runs, several processes, planted optima of all seeds
	$(RUN) python -m pytest -n 2 $(ARGS)

lint: $(ENV)             ## style, types, layers and the workflow's own linters
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) lint-imports
	$(RUN) snakefmt --check Snakefile workflow
	$(RUN) snakemake --lint

format: $(ENV)           ## rewrite sources in the project's style
	$(RUN) ruff check --fix .
	$(RUN) ruff format .
	$(RUN) snakefmt Snakefile workflow

dvc: $(ENV)              ## the same DAG through DVC, which records and caches the outputs
	$(RUN) dvc repro $(ARGS)

report: $(ENV)           ## report.html: verdicts, figures, tables, what ran and how long, at the active scale
	$(RUN) snakemake --cores $(CORES) report.html

adopt: $(ENV)            ## after `dvc pull` in a fresh clone: tell Snakemake that the restored results are up to date
	$(RUN) python -m workflow.scripts.adopt $(ARGS)

verify: $(ENV)           ## make the tables, figures and page of a study again and compare (STUDY=docs/results/...)
	$(RUN) python -m workflow.scripts.study verify $(STUDY)

orphans: $(ENV)          ## remove results that a study's grid no longer names, after asking (ARGS="--params FILE --scale S --yes")
	$(RUN) python -m workflow.scripts.orphans $(ARGS)

clean: $(ENV)            ## remove what was made of one scale of a study, after asking (ARGS as above); data and other scales stay
	$(RUN) python -m workflow.scripts.clean $(ARGS)

environment: $(ENV)      ## only the environment
ifeq ($(SETUP),yes)
$(VENV)/.complete: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
ifeq ($(CPU),yes)
	$(PIP) --index-url $(CPU_WHEELS) $$(grep -E '^torch(vision)?==' requirements.lock)
	grep -vE '^(cuda|nvidia|triton)' requirements.lock | $(PIP) -r /dev/stdin
else
	$(PIP) -r requirements.lock
endif
	$(PIP) --no-deps --no-build-isolation -e .
	touch $@
endif

lock: $(ENV)             ## write requirements.lock (with uv) and environment.yml from pyproject.toml
	uv pip compile --quiet --universal --python-version 3.11 --extra dev --no-annotate \
		--custom-compile-command "make lock" pyproject.toml -o requirements.lock
	$(RUN) python workflow/scripts/environment.py

help:                    ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 14
