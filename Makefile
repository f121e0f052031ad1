# Two commands: `make up` runs everything, `make test` tests everything. Both install what they need into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: up test check lock soak bench clean

up: $(VENV)/.runtime
	$(BIN)/calendar-pipeline up $(ARGS)

test: $(VENV)/.dev
	$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	home=$$(mktemp -d) && DAGSTER_HOME=$$home $(BIN)/dagster definitions validate -w workspace.yaml; code=$$?; \
		rm -rf $$home; exit $$code

# The property test for as long as you like: up to EXAMPLES × STEPS random steps for each provider, LEAST of them at least.
soak: $(VENV)/.dev
	PROPERTY_EXAMPLES=$(or $(EXAMPLES),400) PROPERTY_STEPS=$(or $(STEPS),40) PROPERTY_LEAST=$(or $(LEAST),10000) \
		$(BIN)/python -m pytest -p no:xdist -o addopts="--import-mode=importlib" -s tests/integration/property

bench: $(VENV)/.dev
	$(BIN)/python -m bench.sync
	$(BIN)/python -m bench.cycle

lock: $(VENV)/.dev
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-strip-extras \
		--no-header --quiet pyproject.toml --all-extras -o requirements-dev.lock
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-strip-extras \
		--no-header --quiet pyproject.toml --extra build -c requirements-dev.lock -o requirements.lock

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
