# Needs GNU make and Python 3.11 or newer; `make` alone lists what it can do.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# The checkout goes before what is installed, for the programs that tests start, too.
HERE := PYTHONPATH='$(CURDIR)'

# Every entry under tests/ that trial can load, but for those that need more than Python.
TESTS := $(subst /,.,$(patsubst %/__init__.py,%,$(wildcard tests/*/__init__.py)) \
	$(patsubst %.py,%,$(wildcard tests/test_*.py)))
SYSTEM_TESTS := tests.system
PYTHON_TESTS := $(filter-out $(SYSTEM_TESTS),$(TESTS))

# What the system tests need, each with the Debian package that brings it.
TOOLS := chromium:chromium chromedriver:chromium-driver nginx:nginx

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Debian keeps nginx where only root looks.
export PATH := $(PATH):/usr/sbin:/sbin

.DEFAULT_GOAL := help
# Two targets at once would install into the same environment.
.NOTPARALLEL:
.PHONY: help run test test-all tools missing-packages lint types format wheel pins clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

run: $(VENV)/run.stamp var/gma.yaml ## start the daemon at http://localhost:8080, from this folder
	@echo "gma runs at http://localhost:8080 - now try, in another terminal: $(BIN)/python examples/login.py mastodon.social"
	@$(HERE) exec $(BIN)/twistd --nodaemon --pidfile= gma --config var/gma.yaml

test: $(VENV)/test.stamp ## run the tests that need nothing but Python, and measure what they cover
	@mkdir -p var
	$(HERE) $(BIN)/python -Wall -m coverage run -m twisted.trial --random=0 --temp-directory=var/trial $(PYTHON_TESTS)
	$(BIN)/coverage report

test-all: tools ## all of `make test`, then the tests that need a browser and nginx
	@$(MAKE) --no-print-directory test
	$(HERE) $(BIN)/python -Wall -m twisted.trial --temp-directory=var/trial $(SYSTEM_TESTS)

lint: $(VENV)/dev.stamp ## look for mistakes, for formatting and for misnamed news fragments
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@news=$$($(BIN)/towncrier build --draft 2>&1) || { echo "$$news"; exit 1; }

types: $(VENV)/dev.stamp ## check the types
	$(BIN)/mypy

format: $(VENV)/dev.stamp ## write the code as `make lint` wants it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: $(VENV)/dev.stamp ## build dist/*.whl and dist/*.tar.gz
	rm -rf build dist *.egg-info
	$(BIN)/python -m build --quiet --no-isolation

pins: $(VENV)/dev.stamp ## make requirements/*.txt from setup.cfg; with NEWEST=1 raise every pin
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
		echo "make pins wants Python 3.11, the oldest one gma runs on: make clean, make pins PYTHON=python3.11"; \
		exit 1; }
	$(COMPILE) --extra examples --output-file requirements/run.txt setup.cfg
	$(COMPILE) --extra examples --extra test --constraint requirements/run.txt \
		--output-file requirements/test.txt setup.cfg
	$(COMPILE) --extra examples --extra test --extra dev --constraint requirements/test.txt \
		--output-file requirements/dev.txt setup.cfg

clean: ## remove what was built and installed; var/gma.* stays
	rm -rf $(VENV) build dist *.egg-info var/trial* .coverage .mypy_cache .ruff_cache
	rm -f twisted/plugins/dropin.cache
	find gma tests twisted examples -name __pycache__ -prune -exec rm -rf {} +

COMPILE = CUSTOM_COMPILE_COMMAND='make pins' $(BIN)/pip-compile --quiet --generate-hashes \
	--allow-unsafe --strip-extras --no-emit-index-url --no-emit-trusted-host \
	--no-emit-find-links $(if $(NEWEST),--upgrade)

tools:
	@missing=0; for tool in $(TOOLS); do \
		command -v "$${tool%%:*}" > /dev/null || { missing=1; \
			echo "make test-all needs $${tool%%:*}; on Debian: apt install $${tool##*:}"; }; \
	done; exit $$missing

missing-packages:
	@for tool in $(TOOLS); do \
		command -v "$${tool%%:*}" > /dev/null || echo "$${tool##*:}"; \
	done

var/gma.yaml: | config.development.yaml.in
	@mkdir -p var
	@sed 's|@var@|$(CURDIR)/var|' config.development.yaml.in > $@

$(VENV)/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null || { \
		echo "gma needs Python 3.11 or newer, and $(PYTHON) is not that: make PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2> /dev/null || { \
		echo "$(PYTHON) lacks its venv module; on Debian: apt install python3-venv"; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/%.stamp: requirements/%.txt $(VENV)/made
	@echo "Installing $< into $(VENV)"
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement $<
	@touch $@
