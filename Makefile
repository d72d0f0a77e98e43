SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTEST := $(BIN)/pytest

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

.PHONY: setup
setup: $(READY) ## Make the environment in .venv (the other targets do it by themselves)

$(READY): dataflows/requirements/dev.lock dataflows/pyproject.toml operator/pyproject.toml scripts/setup
	@scripts/setup $(VENV)
	@touch $@

.PHONY: demo
demo: $(READY) ## Run the web-events example on real servers; SECONDS=60 stops by itself
	@scripts/demo $(SECONDS_ASKED)

# bash sets SECONDS itself, so only what the command line or the environment says counts.
SECONDS_ASKED := $(if $(filter command line environment,$(origin SECONDS)),$(SECONDS),)

.PHONY: test
test: lint unit integration on-cluster ## Lint, check types and layers, run all tests

.PHONY: lint
lint: $(READY) ## Check style, types and import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

.PHONY: unit
unit: $(READY) ## Run the unit and property tests
	$(PYTEST) tests/unit -n 2 -q

.PHONY: integration
integration: $(READY) ## Run the tests on real servers
	$(PYTEST) tests/integration -n 2 -v

# In one go, so that a cluster is started once.
.PHONY: on-cluster
on-cluster: $(READY)
	scripts/with-cluster $(PYTEST) tests/chart tests/cluster -v

.PHONY: test-cluster
test-cluster: $(READY) ## Run the operator's tests on a real API server (KUBECONFIG, or ../shared/cluster as root)
	scripts/with-cluster $(PYTEST) tests/cluster -v

.PHONY: test-keda
test-keda: $(READY) ## Build KEDA and have it scale a pipeline, on a cluster as for test-cluster
	built="$$(scripts/build-keda)" && WEBEVENTS_KEDA="$$built" scripts/with-cluster $(PYTEST) tests/cluster/test_keda.py -v

.PHONY: bench
bench: $(READY) ## Compare with other engines and write docs/benchmarks.md (about an hour; ONLY=, SCALE=, ROUNDS=)
	PYTHONPATH=tests/support $(BIN)/python tests/bench/suite.py

.PHONY: bench-operator
bench-operator: $(READY) ## Measure the operator with PIPELINES=1000 resources (needs KUBECONFIG)
	PYTHONPATH=tests/support $(BIN)/python tests/bench/operator_scale.py

.PHONY: test-collector
test-collector: $(READY) ## Run the collector's tests, with the vendors' trackers in Chromium
	@scripts/test-collector

.PHONY: bench-collector
bench-collector: $(READY) ## Measure the collector beside plain servers: CPU, latency, memory
	$(BIN)/python tests/bench/collector.py

.PHONY: test-kibana
test-kibana: $(READY) ## Run the tests of Kibana's dashboards, with the Vega panels drawn in Chromium
	@scripts/test-kibana

.PHONY: test-live
test-live: $(READY) ## Run the live page's tests, in Chromium too
	@scripts/test-live

.PHONY: bench-live
bench-live: $(READY) ## Measure what VIEWERS=1000 of the live page cost
	PYTHONPATH=tests/support $(BIN)/python tests/bench/live.py

.PHONY: bench-alerts
bench-alerts: $(READY) ## Score the alerts on labelled incidents and on clean traffic
	$(BIN)/python tests/bench/alerts.py

.PHONY: test-own-servers
test-own-servers: $(READY) ## Kill every process of the five examples, on servers of their own
	$(PYTEST) tests/local -v

# The plugin writes what was seen into docs/reliability.md.
CHAOS := $(PYTEST) -p chaos_table -v -s
CHAOS_ROWS := tests/chaos/test_processes.py tests/chaos/test_outages.py tests/unit/test_failed.py \
	tests/unit/test_sessions.py \
	$(addprefix tests/integration/test_,faults.py state_lost.py postgres_faults.py loader.py poison.py elasticsearch.py) \
	$(addprefix tests/cluster/test_,resilience.py external.py upgrade.py)

.PHONY: chaos
chaos: $(READY) ## Bring all faults about and write docs/reliability.md (about an hour)
	PYTHONPATH=tests/support scripts/with-cluster $(CHAOS) $(CHAOS_ROWS)

.PHONY: soak
soak: $(READY) ## Random faults for MINUTES=30
	PYTHONPATH=tests/support $(CHAOS) tests/chaos/test_soak.py

.PHONY: fuzz
fuzz: $(READY) ## Put a million malformed inputs to everything that takes bytes from outside
	$(BIN)/python tests/bench/fuzz.py $(if $(COUNT),--count $(COUNT)) $(if $(TARGET),--target $(TARGET)) $(if $(FIRST),--first $(FIRST))

.PHONY: chart
chart: $(READY) ## Render the chart and have an API server judge it (KUBECONFIG, or ../shared/cluster as root)
	scripts/with-cluster $(PYTEST) tests/chart -q

.PHONY: chart-files
chart-files: $(READY) ## Write the chart's values, schema and table from the models
	@scripts/make-chart

.PHONY: e2e
e2e: $(READY) ## Build the images and test the whole system (KUBECONFIG, or ../shared/cluster as root)
	@scripts/e2e

.PHONY: format
format: $(READY) ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: reference
reference: $(READY) ## Write docs/reference.md from the models
	@scripts/make-reference

.PHONY: crd
crd: $(READY) ## Write the CustomResourceDefinition from the models
	@scripts/make-crd

.PHONY: kibana
kibana: $(READY) ## Write the Kibana objects of the examples from their definition
	@scripts/make-kibana

.PHONY: sbom
sbom: $(READY) ## Write what images and development are made of, as CycloneDX, into build/sbom
	@scripts/sbom $(TO)

.PHONY: audit
audit: $(READY) ## Look for known vulnerabilities of all pinned packages (needs the internet)
	@scripts/audit

.PHONY: images
images: ## Build the images with docker, podman or buildah; TO=FOLDER also saves them there
	@scripts/images $(TO)

.PHONY: lock
lock: $(READY) ## Pin the dependencies anew
	UV=$(BIN)/uv scripts/lock --upgrade

.PHONY: clean
clean: ## Remove the environment and caches of this folder
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
