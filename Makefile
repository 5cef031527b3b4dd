# One command for each thing that people do here. `make help` lists them.

SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast cluster cluster-test cluster-stop check docs docs-serve fuzz schema bench clean distclean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# torch comes first and alone: pip then finds it satisfied and never looks for a CUDA build.
.venv/.run: requirements/run.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"PCIM needs Python 3.11 or newer, {sys.executable} is {sys.version.split()[0]}; name another: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements/run.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev: .venv/.run requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements/dev.txt
	@touch $@

# roc-validator wants another rich than the rest: tools that only look at what is finished have an environment of their own.
.venv/.tools: .venv/.run requirements/tools.txt
	test -x .venv/tools/bin/python || $(BIN)/python -m venv .venv/tools
	.venv/tools/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements/tools.txt
	@touch $@

# The bars are for a terminal: elsewhere they would be silent until the end, so Snakemake writes its own lines.
demo: .venv/.run ## Run the example campaign and print where its report lies
	@logger="--quiet host reason"; if [ -t 2 ]; then logger="--logger rich"; fi; \
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake $$logger
	@echo
	@echo "The report: $(CURDIR)/results/demo/report/index.html"

test: .venv/.dev .venv/.tools ## Run every test that this machine can run
	PCIM_TOOLS_REQUIRED=1 $(BIN)/python -m pytest -q -n 2 -m "not workflow"
	$(BIN)/python -m pytest -q -m workflow

test-fast: .venv/.dev ## Run the tests that take seconds
	$(BIN)/python -m pytest -q -n 2 -m "not workflow and not browser"

cluster: ## Install and start a private SLURM of three nodes on this host, and print how to use it
	@tests/cluster/install.sh
	@tests/cluster/cluster.sh start

# Who asks for these tests is not served by skipping them.
cluster-test: .venv/.dev ## Run the tests on that SLURM
	PCIM_CLUSTER_REQUIRED=1 $(BIN)/python -m pytest -q -m cluster tests/cluster

cluster-stop: ## End that SLURM and delete its folder
	@tests/cluster/cluster.sh purge

check: .venv/.dev ## Lint, types, direction of imports, formats, freshness of generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/snakefmt --check Snakefile workflow/Snakefile workflow/rules
	$(BIN)/python docs/make_reference.py --check
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake --lint

docs: .venv/.dev ## Build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs-serve: .venv/.dev ## Show the documentation while you write it
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

fuzz: .venv/.dev ## Try a million broken files on the readers of what others wrote (an hour; what breaks one lies in fuzz-found)
	for name in platemap given_platemap plates places cellvoyager operetta ometiff plate_04 plate_05 tiles imagexpress tiff arrays package config model; do \
		PYTHONPATH=src $(BIN)/python tests/fuzz/run.py $$name --runs 91000 --seconds 1800 || failed=1; done; exit $${failed:-0}

schema: .venv/.run ## Write config/config.schema.json and config/README.md anew
	$(BIN)/python docs/make_reference.py

bench: .venv/.dev ## Run the benchmarks and keep their figures (hours; it goes on where it was stopped)
	for name in numerics io campaign jobs metrics report_page verdicts trained_verdicts step scaling methods ablation contrasts quality halo; do $(BIN)/python benchmarks/$$name.py || exit 1; done

clean: ## Delete results, logs and caches
	rm -rf results site .snakemake .pytest_cache .mypy_cache .ruff_cache .hypothesis

distclean: clean ## Delete the environment too
	rm -rf .venv
