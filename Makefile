# `make` lists the targets. All of them work in .venv, which is created when it is missing and
# renewed when pyproject.toml or constraints.txt change; otherwise it is kept.

.DEFAULT_GOAL := help
.PHONY: help demo test test-all check docs clean environment

BIN := .venv/bin
# Passed on, e.g. make test PYTEST_ARGS="tests/metrics -x" or make demo DEMO_ARGS=--help.
PYTEST_ARGS ?=
DEMO_ARGS ?=

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: environment ## Train a detector on real solar cells; print its numbers and write a report
	@$(BIN)/clad demo $(DEMO_ARGS)

test: environment ## Run the quick tests
	@$(BIN)/python -m pytest -m "not slow and not gpu" $(PYTEST_ARGS)

test-all: environment ## Run every test, the slow ones too (on a GPU where there is one)
	@tools/chromium.sh
	@$(BIN)/python -m pytest -m "" $(PYTEST_ARGS)

check: environment ## Run what must pass before a commit: style, types, spelling, quick tests
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --check --quiet
	$(BIN)/mypy
	$(BIN)/codespell
	@$(MAKE) --no-print-directory test

docs: environment ## Check that links, commands and file names in the documentation hold
	@$(BIN)/python tools/check_docs.py

clean: ## Remove caches and build products; .venv and runs stay
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache *.egg-info
	find clad tests benchmarks tools -name __pycache__ -type d -prune -exec rm -rf {} +

environment:
	@tools/environment.sh
