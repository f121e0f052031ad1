# Two commands: `make up` runs everything, `make test` tests everything. Both install what they need into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: up example test check docs screens gallery machine lock soak bench bench-history bench-fleet clean

up: $(VENV)/.runtime
	$(BIN)/calendar-pipeline up $(ARGS)

# The example application over everything that it needs, against the sandbox.
example: $(VENV)/.runtime
	$(BIN)/python -m examples.notetaker.demo $(ARGS)

test: $(VENV)/.dev machine
	$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.dev docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	home=$$(mktemp -d) && DAGSTER_HOME=$$home $(BIN)/dagster definitions validate -w workspace.yaml; code=$$?; \
		rm -rf $$home; exit $$code

# One process that says what it does, and tests that may take as long as they like.
SOAK = $(BIN)/python -m pytest -p no:xdist -o addopts="--import-mode=importlib" -o faulthandler_timeout=0 -s

# The property test for as long as you like: up to EXAMPLES × STEPS random steps for each provider, LEAST of them at least.
soak: $(VENV)/.dev
	PROPERTY_EXAMPLES=$(or $(EXAMPLES),400) PROPERTY_STEPS=$(or $(STEPS),40) PROPERTY_LEAST=$(or $(LEAST),10000) \
		$(SOAK) tests/integration/property tests/integration/bots/test_bots_property.py
	WEBHOOK_KILL_DELIVERIES=$(or $(DELIVERIES),1500) WEBHOOK_KILLS=$(or $(KILLS),40) \
		$(SOAK) tests/integration/webhooks/test_webhook_kills.py
	LIVE_KILLS=$(or $(KILLS),25) \
		$(SOAK) tests/integration/live/test_live_kills.py
	SCHEMA_EXAMPLES=$(or $(EXAMPLES),400) SCHEMA_SEED=$(or $(SEED),$$(date +%s)) \
		$(SOAK) tests/contract/api/test_api_schema.py

# The documentation as pages, in site/. A warning is an error.
docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The pictures in the documentation, made anew by the browser tests.
screens: $(VENV)/.dev machine
	SCREENS=docs/images $(BIN)/python -m pytest -n0 tests/browser tests/acceptance/test_acceptance_dagster.py

# The pictures of the record in the documentation, drawn anew. A test holds that they are current.
gallery: $(VENV)/.dev
	$(BIN)/python -m gallery docs/images/gallery

# What the tests need of the machine: Chromium, which the browser tests drive, and systemd's own check of units.
machine:
	@if command -v systemd-analyze >/dev/null; then \
		for name in chromium chromium-browser google-chrome google-chrome-stable; do \
			command -v $$name >/dev/null && exit 0; \
		done; \
	fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing Chromium and systemd for the tests, once."; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
			chromium fonts-dejavu-core systemd >/dev/null; \
	else \
		echo "The tests need Chromium and systemd-analyze. Install them as root (Debian: apt-get install chromium"; \
		echo "fonts-dejavu-core systemd), then run this again."; \
		exit 1; \
	fi

bench: $(VENV)/.dev
	$(BIN)/python -m bench.sync
	$(BIN)/python -m bench.sync --platform microsoft
	$(BIN)/python -m bench.cycle
	$(BIN)/python -m bench.bots
	$(BIN)/python -m bench.api
	$(BIN)/python -m bench.webhooks

# A history of ROWS versions: replay, states as of an instant, size.
bench-history: $(VENV)/.dev
	$(BIN)/python -m bench.history --rows $(or $(ROWS),1000000)

# Whole half-hour cycles of CALENDARS sandbox calendars under Dagster.
bench-fleet: $(VENV)/.dev
	$(BIN)/python -m bench.cycle --calendars $(or $(CALENDARS),10000) --events 40 --own-tick

lock: $(VENV)/.dev
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-strip-extras \
		--no-header --quiet pyproject.toml --all-extras -o requirements-dev.lock
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-strip-extras \
		--no-header --quiet pyproject.toml --extra build -c requirements-dev.lock -o requirements.lock
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-strip-extras \
		--no-header --quiet pyproject.toml --extra build --extra kubernetes -c requirements-dev.lock \
		-o requirements-kubernetes.lock
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-strip-extras \
		--no-header --quiet --group client -o requirements-client.lock

clean:
	rm -rf $(VENV) .calendar-pipeline

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; try make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing into $(VENV), once; this takes about a minute."
	$(PIP) install --require-hashes -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing into $(VENV), once; this takes about a minute."
	$(PIP) install --require-hashes -r requirements-dev.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@ $(VENV)/.runtime
