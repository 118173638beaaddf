# The common tasks. `make help` lists them. To use an environment of your own (conda, uv, ...):
#     make SETUP=no VENV=$CONDA_PREFIX
PYTHON ?= python3.11
VENV   ?= .venv
SETUP  ?= yes
CORES  ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
TARGET ?= results/table2.csv
ARGS   ?=

BIN := $(abspath $(VENV))/bin
RUN := PATH="$(BIN):$$PATH"
ifeq ($(SETUP),yes)
ENV := $(VENV)/.complete
else
ENV :=
endif

.DEFAULT_GOAL := main
.PHONY: main all test lint types format dvc report adopt orphans clean environment lock help

main: $(ENV)             ## the environment and the main job (TARGET=results/table2.csv, CORES=all, ARGS=further options)
	$(RUN) snakemake --cores $(CORES) $(TARGET) $(ARGS)

all: $(ENV)              ## every table and figure of the active scale
	$(RUN) snakemake --cores $(CORES) all $(ARGS)

test: $(ENV)             ## the tests (ARGS="-m 'not slow'" for the fast ones)
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

orphans: $(ENV)          ## list results that the grid no longer names (ARGS=--delete removes them)
	$(RUN) python -m workflow.scripts.orphans $(ARGS)

clean:                   ## remove what the workflow made at every scale, but neither data nor the environment
	rm -rf .bars .snakemake logs report.html dvc_plots
	find results figures -mindepth 1 -maxdepth 1 ! -name README.md -exec rm -rf {} +

environment: $(ENV)      ## only the environment
ifeq ($(SETUP),yes)
$(VENV)/.complete: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --disable-pip-version-check -r requirements.lock
	$(VENV)/bin/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@
endif

lock: $(ENV)             ## write requirements.lock and environment.yml from the present environment
	$(RUN) python workflow/scripts/lock.py

help:                    ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 14
