# Needs python3 >= 3.11 and nothing else: every target makes .venv from pyproject.toml first.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
READY   = $(VENV)/.ready
DEV     = $(VENV)/.dev
FOR    ?=
g      ?= factory
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

.DEFAULT_GOAL := help
.PHONY: help demo demo-soak test check bench bench-quick bench-prediction bench-queries bench-recovery bench-reload bench-closed-loop bench-plants bench-gateway bench-idle bench-tenancy chaos fuzz dashboards reference docs outdated release-schemas up down worker

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY) ## Run everything with simulated plants and a city, live in the terminal (FOR=60: for 60 seconds, then check and exit)
	$(BIN)/headrace demo $(if $(FOR),--for $(FOR))

demo-soak: ## Run that N times from a fresh clone with nothing cached, three of them beside two busy loops (N=10)
	$(PYTHON) -m bench.demo_soak $(or $(N),10)

test: check ## Run the checks and every test
	$(BIN)/pytest -n 5 --dist loadfile --no-loadscope-reorder

check: $(DEV) docs ## Lint, formatting, types, and the documents
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: $(DEV) ## Build the documents as a site in .site/; a broken link fails it
	$(BIN)/zensical build --strict

reference: $(DEV) ## Write the pages of docs/reference/ that are made from the code anew
	$(BIN)/python -m deploy.reference.write

bench: $(DEV) ## Measure throughput and latency beside stock Faust and Quix Streams, write bench/RESULTS.md
	$(BIN)/python -m bench.run

bench-quick: $(DEV) ## The same in under five minutes, ending in one line of figures
	$(BIN)/python -m bench.run --quick

bench-prediction: $(DEV) ## Measure how well failures are foreseen, on simulated wear
	$(BIN)/python -m bench.prediction

bench-queries: $(DEV) ## Measure how long the warehouse takes to answer over ten million readings
	$(BIN)/python -m bench.queries

bench-recovery: $(DEV) ## Measure how long a killed worker takes to recover, by the size of its state
	$(BIN)/python -m bench.recovery

bench-reload: $(DEV) ## Measure how soon a rule that is applied is in force in every worker
	$(BIN)/python -m bench.reload

chaos: $(DEV) ## Kill every part of the line at random under load and judge what is left (FOR=600: seconds, SEED=…: repeat a run)
	$(BIN)/python -m tests.integration.chaos $(if $(FOR),--for $(FOR)) $(if $(SEED),--seed $(SEED))

fuzz: $(DEV) ## Send hostile messages over all four protocols to a line and judge what is left (FOR=600: seconds, SEED=…: repeat a run)
	$(BIN)/python -m tests.fuzz.run $(if $(FOR),--for $(FOR)) $(if $(SEED),--seed $(SEED))

bench-plants: $(DEV) ## Measure how long a plant's aggregates take to the centre, between two clusters
	$(BIN)/python -m bench.plants

dashboards: $(DEV) ## Write Grafana's dashboards anew from the metrics' catalogue
	$(BIN)/python -m deploy.grafana.write

outdated: $(DEV) ## Show which pinned archives, images and Python packages have a newer release (exit code 1), 0 if none
	@$(BIN)/python -m deploy.embedded.outdated

requirements.lock: pyproject.toml ## Resolve what the product runs on anew, with versions and hashes; needs uv
	uv pip compile pyproject.toml --universal --generate-hashes --python-version 3.11 --upgrade --quiet \
		--custom-compile-command "make requirements.lock" --output-file $@

release-schemas: ## Freeze the schemas as those of this version: CI then holds later ones to them
	@test ! -e schemas/released/$(VERSION) || { echo "$(VERSION) is released: raise the version in pyproject.toml first"; exit 1; }
	mkdir -p schemas/released/$(VERSION)
	cp schemas/avro/*.avsc schemas/released/$(VERSION)

bench-closed-loop: $(DEV) ## Measure the time from a critical reading to the command at the machine
	$(BIN)/python -m bench.closed_loop

bench-gateway: $(DEV) ## Measure what one gateway process takes from MQTT into Kafka, beside a bare paho subscriber
	$(BIN)/python -m bench.gateway

bench-idle: $(DEV) ## Measure what each worker takes of the processor and memory under no load, little, the demo's and more
	$(BIN)/python -m bench.idle

bench-tenancy: $(DEV) ## Measure what one tenant's flood, or full share of the disk, does to another's latency
	$(BIN)/python -m bench.tenancy

up: $(READY) ## Start Kafka, schema registry and MQTT broker in the background
	$(BIN)/headrace up

down: $(READY) ## Stop them; their data stays
	$(BIN)/headrace down

worker: $(READY) ## Run one worker in the foreground (g=factory: which one)
	$(BIN)/faust -A streams.$(g) worker -l info

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Headrace needs Python 3.11 or newer; this is " + sys.version + ". Name another one: make PYTHON=python3.12")'
	@echo "Installing Headrace and what it runs on into $(VENV), once: some 450 MB to fetch, 1.3 GB on disk, one to five minutes"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(DEV): $(READY)
	@echo "Installing what the tests and benchmarks need besides into $(VENV), once: 300 MB on disk, a minute"
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@
