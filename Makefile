.DEFAULT_GOAL := help
.PHONY: help setup setup-test demo up down test test-most test-stack unit e2e faults long check lock sbom bench pictures

PY := .venv/bin/python
# Tests are told where the package is by pyproject.toml; tools that import it are told here.
export PYTHONPATH := $(CURDIR)/plugins
# A test's own assertions are compiled once, not by each process that collects them.
export PYTHONDONTWRITEBYTECODE :=

# So many tests at a time, each with a database server, browser and ports of its own.
JOBS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$((n < 8 ? n : 8)))
SIDE_BY_SIDE := -n $(JOBS) --dist worksteal

help: ## Show this list
	@grep -E '^[a-z0-9-]+:.*##' Makefile | sed -E 's/^([a-z0-9-]+):[^#]*## */\1|/' | awk -F'|' '{ printf "  make %-12s %s\n", $$1, $$2 }'

setup: ## Install what the application needs (PYTHON=python3.12 chooses the interpreter)
	@bin/setup run

setup-test: ## Install what tests and checks need on top
	@bin/setup test

demo: setup ## Set everything up and run one monthly cycle of the demo agency
	@bin/invoicing demo

up: setup ## Start the embedded stack: PostgreSQL, mail inbox, Airflow
	@bin/invoicing up

down: ## Stop the embedded stack; nothing is lost
	@bin/invoicing down

# What runs side by side goes on while the one stack, which mostly waits, is tried beside it; what measures comes last.
test: setup-test ## Run every test
	@status=0; \
	$(MAKE) --no-print-directory -k -j2 test-most test-stack || status=$$?; \
	$(PY) -m pytest -m alone || status=$$?; \
	exit $$status

# What is tried once the stack is down, so that both end at the same time.
AFTER_THE_STACK := tests/hostile tests/rendering tests/audit tests/deploy

test-most:
	@$(PY) -m pytest $(SIDE_BY_SIDE) -m "not alone" --ignore=tests/e2e $(addprefix --ignore=,$(AFTER_THE_STACK))

# Told when it is over, so that the two do not talk at once.
test-stack:
	@mkdir -p var; status=0; \
	{ $(PY) -m pytest tests/e2e || status=$$?; $(PY) -m pytest -m "not alone" $(AFTER_THE_STACK) || status=$$?; } \
		>var/test-stack.log 2>&1; \
	cat var/test-stack.log; exit $$status

unit: setup-test ## Run the tests that need no stack, browser or renderer: about a minute
	$(PY) -m pytest $(SIDE_BY_SIDE) -m "not alone" tests/unit tests/db tests/dags

e2e: setup-test ## Run the tests on the real stack
	$(PY) -m pytest tests/e2e --long

faults: setup-test ## Run the fault suite in its long form
	$(PY) -m pytest tests/faults tests/hostile tests/web/test_busy.py --long -s

long: setup-test ## Run every test, each in its long form: hours
	$(PY) -m pytest --long

check: setup-test ## Lint, types, import rules, lock drift
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports
	$(PY) bin/check_lock.py
	$(PY) bin/check_images.py

COMPILE := .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header --generate-hashes

lock: ## Resolve requirements*.txt anew into constraints.txt, each file with its hash
	@bin/setup lock
	$(COMPILE) requirements-dev.txt -o constraints.txt
	$(COMPILE) requirements-image.txt -c constraints.txt -o constraints-image.txt
	$(COMPILE) requirements-sbom.txt -o constraints-sbom.txt
	grep -o '^uv==[^ ]*' requirements-uv.txt | $(COMPILE) - -o requirements-uv.txt

sbom: setup-test ## List what the image has installed, with licences: var/sbom.json (CycloneDX) and var/licences.json
	@bin/sbom

# Tenants of each month that is measured.
SIZES ?= 200,1000,4000

bench: export PYTHONPATH := $(CURDIR)/plugins:$(CURDIR)/tests
# The archive comes with Airflow, which makes itself a home: not in the user's.
bench: export AIRFLOW_HOME := $(CURDIR)/var/bench-airflow
bench: setup-test ## Measure months through the scheduler beside bare loops (SIZES=200,1000,4000): var/bench.json; parts, pages
	$(PY) tests/bench/bench_month.py --sizes $(SIZES)
	$(PY) tests/bench/bench_cycle.py
	$(PY) tests/bench/bench_pages.py --json var/bench-pages.json

pictures: export PYTHONPATH := $(CURDIR)/plugins:$(CURDIR)/tests
pictures: setup-test ## Take a picture of every page, an invoice and a message into var/pictures
	$(PY) tests/pictures.py
