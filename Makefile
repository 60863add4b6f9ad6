# make work: the application on this machine, with sample events. make test: its tests. The rest follows from these.
SHELL := /bin/sh
VENV := .venv
PYTHON ?= $(firstword $(foreach name,python3.13 python3.12 python3.11 python3 python,$(shell \
	$(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v $(name))))
BIN := $(VENV)/bin
PROCESSES ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
ARTISAN := $(BIN)/python artisan.py
FAULTS_TESTS := tests/faults tests/lamplighter/test_hostile_bytes.py tests/lamplighter/test_hostile_files.py \
	tests/lamplighter/kafka/scheduling/test_scheduling_fuzz.py \
	tests/lamplighter/queue/drivers/leasing/test_leasing_machine.py

.PHONY: help install work test shell lint bench faults chaos clean
.DEFAULT_GOAL := help

help:
	@echo "make work     run the worker with sample events (embedded broker, SQLite); Ctrl-C stops it"
	@echo "make test     run the tests but the longest; those that need a service which is not there are skipped"
	@echo "make shell    a shell in which 'python artisan.py ...' works"
	@echo "make lint     ruff and mypy"
	@echo "make bench    the benchmark"
	@echo "make faults   the long fault tests, on a mock cluster and on real brokers of their own (about three hours)"
	@echo "make chaos    whole rounds of chaos: ROUNDS=100 SEED=7 has the rounds of seeds 7 to 106 (about a minute each)"
	@echo "make install  only what the others share: $(VENV), the packages and .env"
	@echo "make clean    remove $(VENV) and caches; .env, the database and logs stay"

install: $(VENV)/installed .env
	@:

# The stamp is the last to be written: a step that fails is tried again by the next make. Pip is the last thing in a new
# environment: without it, its making was interrupted.
$(VENV)/installed: pyproject.toml
	@test -x $(BIN)/pip || test -n "$(PYTHON)" || { \
		echo "Python 3.11 or newer is needed, and none was found. Install one, or name it:"; \
		echo "    make install PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "The virtual environment could not be made by $(PYTHON)."; \
		echo "On Debian and Ubuntu: apt-get install python3-venv. Then run make install again."; exit 1; }
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(VENV) was made by a Python older than 3.11, or by one that is gone. Remove it: make clean"; exit 1; }
	@echo "Installing the packages into $(VENV), which takes about a minute ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]' || { \
		echo "The packages could not be installed; pip's words are above. Is the network there? Then run make install again."; \
		exit 1; }
	@touch $@

.env:
	@cp .env.example .env
	@echo "Wrote .env, a copy of .env.example."

# Ctrl-C reaches the shell and the worker alike: the shell must live on until the worker has left, and an ignored signal
# would be ignored by the worker's first half second, too; so it is caught.
work: install
	@$(ARTISAN) migrate --quiet || { echo "The database was not migrated; what is above says why. Its settings are DB_* in .env."; exit 1; }
	@$(ARTISAN) sample:publish --if-embedded || { echo "The sample events were not published; what is above says why. The brokers are KAFKA_BROKERS in .env."; exit 1; }
	@trap : INT; $(ARTISAN) queue:work kafka; status=$$?; \
	case $$status in 0|130) echo; echo "Stopped. What is stored: $(ARTISAN) datastore:show" ;; \
	*) echo "The worker ended with $$status; what is above says why."; exit $$status ;; esac

# They wait half of their time: one process more than there are processors. Those of beanstalkd and SQS start servers of
# their own, wait for seconds, and need no service that somebody names: .ci/run has them, or their folders.
test: install
	@$(BIN)/python -m pytest -n $(PROCESSES) --dist worksteal -m "not (long or beanstalkd or sqs)" $(PYTEST_OPTIONS)

shell: install
	@if command -v docker >/dev/null 2>&1 && test -n "$$(docker compose ps --quiet worker 2>/dev/null)"; \
	then docker compose exec worker bash || true; exit 0; fi; \
	echo "python artisan.py list shows the commands; exit leaves."; \
	VENV="$(abspath $(VENV))" bash --rcfile scripts/shell.rc -i || true

lint: install
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

# Of one that somebody has started nothing is ended. A shell that a signal ends runs no trap of EXIT, but for bash: so that
# Ctrl-C is caught.
faults: install
	@echo "Breaks brokers, workers, lines and jobs for about three hours; docs/faults.md tells what. Ctrl-C ends it."
	@if test -n "$$KAFKA_TEST_BROKERS"; then FAULTS=long $(BIN)/python -m pytest -v -s $(FAULTS_TESTS); else \
		KAFKA_TEST_BROKERS=$$(scripts/kafka up) || exit 1; export KAFKA_TEST_BROKERS; \
		trap 'scripts/kafka down' EXIT; trap 'exit 130' INT TERM; FAULTS=long $(BIN)/python -m pytest -v -s $(FAULTS_TESTS); fi

# Without SEED it is drawn, and printed with each round.
chaos: ROUNDS ?= 10
chaos: install
	@export FAULTS=long FAULTS_ROUNDS="$(ROUNDS)" FAULTS_SEED="$(SEED)"; set -- -v -s tests/faults/test_chaos.py -k "$(or $(TEST),round)"; \
	if test -n "$$KAFKA_TEST_BROKERS"; then $(BIN)/python -m pytest "$$@"; else \
		KAFKA_TEST_BROKERS=$$(scripts/kafka up) || exit 1; export KAFKA_TEST_BROKERS; \
		trap 'scripts/kafka down' EXIT; trap 'exit 130' INT TERM; $(BIN)/python -m pytest "$$@"; fi

bench: install
	@$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
