# make work: the application on this machine, with sample events. make test: its tests. The rest follows from these.
SHELL := /bin/sh
VENV := .venv
PYTHON ?= $(firstword $(foreach name,python3.13 python3.12 python3.11 python3 python,$(shell \
	$(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v $(name))))
BIN := $(VENV)/bin
ARTISAN := $(BIN)/python artisan.py

.PHONY: install work test shell lint bench clean
.DEFAULT_GOAL := help

help:
	@echo "make work    run the worker with sample events (embedded broker, SQLite); Ctrl-C stops it"
	@echo "make test    run the tests; those that need a service which is not there are skipped"
	@echo "make shell   a shell in which 'python artisan.py ...' works"
	@echo "make lint    ruff and mypy    make bench  the benchmark    make install  only install"

install: $(VENV)/installed .env

$(VENV)/installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed and was not found. Install it, or name one: make install PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "The virtual environment could not be made. On Debian and Ubuntu: apt-get install python3-venv"; rm -rf $(VENV); exit 1; }
	@echo "Installing into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]' || { echo "The packages could not be installed. Is the network there? Then run make install again."; exit 1; }
	@touch $@

.env:
	@cp .env.example .env
	@echo "Wrote .env from .env.example."

work: install
	@$(ARTISAN) migrate --quiet || { echo "The migrations failed; see above. Settings are in .env."; exit 1; }
	@$(ARTISAN) sample:publish --if-embedded || { echo "The samples could not be published; see above."; exit 1; }
	@echo "The worker runs. Ctrl-C stops it; then: $(ARTISAN) datastore:show"
	@trap '' INT; $(ARTISAN) queue:work kafka

test: install
	@$(BIN)/python -m pytest $(PYTEST_OPTIONS)

shell: install
	@if command -v docker >/dev/null 2>&1 && test -n "$$(docker compose ps --quiet worker 2>/dev/null)"; \
	then docker compose exec worker bash; \
	else echo "python artisan.py list shows the commands; exit leaves."; PATH="$(CURDIR)/$(BIN):$$PATH" $${SHELL:-/bin/sh}; fi

lint: install
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

bench: install
	@$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
