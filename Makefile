# Every target sets up what it needs: on a fresh machine `make demo` and `make test`
# are all there is to do. Variables: PYTHON (3.10 or newer), VENV.
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
CONSTRAINTS := requirements/constraints.txt
# The exact CPU build: any other torch would pull gigabytes of GPU packages.
TORCH := torch==2.13.0+cpu
# Stamps: a target is installed again only when what it depends on changed.
STAMPS := $(VENV)/.stamps
PROJECT_FILES := pyproject.toml $(CONSTRAINTS)

.PHONY: help setup demo test test-everywhere lint types check format bench campaign clean

help: ## Show this help
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

$(STAMPS)/venv:
	$(PYTHON) -m venv $(VENV)
	mkdir -p $(STAMPS) && touch $@

$(STAMPS)/demo: $(STAMPS)/venv $(PROJECT_FILES)
	$(PIP) install -qq -c $(CONSTRAINTS) -e ".[offline,demo]"
	touch $@

$(STAMPS)/test: $(STAMPS)/venv $(PROJECT_FILES)
	$(PIP) install -qq -c $(CONSTRAINTS) -e ".[offline,ocr,documents,photos,demo,test,dev]"
	@$(PIP) install -qq "$(TORCH)" \
	  && $(PIP) install -qq -c $(CONSTRAINTS) -e ".[llama-index,finetune,open-clip]" \
	  || { echo "No CPU build of torch here: no tests of CLIP and training."; [ -z "$$CI" ]; }
	touch $@

setup: $(STAMPS)/test ## Install everything for development into .venv

demo: $(STAMPS)/demo ## Index photographs and a handbook, ask with words and pictures
	$(BIN)/python examples/demo.py

test: $(STAMPS)/test ## Run all tests: code, docstrings, README and examples
	$(BIN)/python -m pytest -n 2 $(ARGS)

test-everywhere: $(STAMPS)/test ## Run all tests four times, as other machines do (an hour)
	tests/everywhere.sh $(BIN)/python

campaign: $(STAMPS)/test ## Try what may break it, at length (two hours; the last needs root); each prints counts
	$(BIN)/python -m tests.campaigns.hostile_pictures
	$(BIN)/python -m tests.campaigns.documents
	$(BIN)/python -m tests.campaigns.misbehaving_server
	$(BIN)/python -m tests.campaigns.cancel_storm
	$(BIN)/python -m tests.campaigns.kills
	$(BIN)/python -m tests.campaigns.following
	$(BIN)/python -m tests.campaigns.damage
	$(BIN)/python -m tests.campaigns.damage --without-log --seeds 1
	$(BIN)/python -m tests.campaigns.full_disk

lint: $(STAMPS)/test ## Check format and style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMPS)/test ## Check types
	$(BIN)/mypy

check: lint types test ## Everything that must hold before a commit

format: $(STAMPS)/test ## Format the code and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMPS)/test ## Measure the encoder and fusion on ../shared/data
	$(BIN)/python benchmarks/offline_encoder.py
	$(BIN)/python benchmarks/fusion.py

clean: ## Remove what was built, the virtual environment too
	rm -rf build dist $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
