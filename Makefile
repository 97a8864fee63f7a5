# The two commands of the README are `make demo` and `make test`. Each sets itself up in .venv, without root.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
ARGS ?=
WORKERS ?= auto

.PHONY: demo test test-fast lint docs floors floors-ready bench systemd-test clean

demo: $(VENV)/ready
	$(BIN)/bridged demo $(ARGS)

# One process of tests for each processor; the tests of a file stay together.
PYTEST = $(BIN)/pytest -n $(WORKERS) --dist loadfile

# The slow ones run real processes and clouds against the clock: without the tracing of coverage.
test: $(VENV)/ready
	$(PYTEST) -m "not slow and not systemd" --cov --cov-report=term $(ARGS)
	$(PYTEST) -m slow $(ARGS)

test-fast: $(VENV)/ready
	$(PYTEST) -m "not slow and not systemd" $(ARGS)

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# docs/facts, from the markers of the tests; docs/problems.rst, from the problems that the code tells of.
docs: $(VENV)/ready
	$(BIN)/python -m tests.facts
	$(BIN)/python -m tests.problems

# The oldest versions that setup.cfg allows, in an environment of their own.
FLOORS = VENV=.venv-floors CONSTRAINTS=.venv-floors.txt

floors:
	$(MAKE) $(FLOORS) test-fast

floors-ready:
	$(MAKE) $(FLOORS) .venv-floors/ready

# Prints ratios; takes minutes; a machine with nothing else to do gives better figures.
# Against an older commit: make bench ARGS="--against REV [--rounds 5] [--rows NAME,...]"
bench: $(VENV)/ready
	$(BIN)/pip install --quiet --editable '.[bench]'
	$(BIN)/python -m tests.bench $(ARGS)

# Boots Debian 12 and 13 beside what runs here: as root; some minutes for the first time. Keeps its systems in .systemd.
systemd-test: $(VENV)/ready
	$(BIN)/pytest -m systemd tests/systemd $(ARGS)

$(VENV)/ready: setup.cfg setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "bridge needs Python 3.11 or later; name it: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || \
		{ echo "Python cannot make virtual environments here; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(if $(CONSTRAINTS),$(PYTHON) tests/floors.py > $(CONSTRAINTS))
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test]' $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS))
	@touch $@

clean:
	rm -rf .venv .venv-floors .venv-floors.txt build dist *.egg-info .coverage
