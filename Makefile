# Everything needs only Python 3.11 and make; each target installs what it uses.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
export FLWR_TELEMETRY_ENABLED := 0
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: demo test check bench clean

$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

demo: $(VENV)/installed   ## four simulated hospitals, private and masked, report at the end
	$(BIN)/konsil-simulate demo --out demo-out

test: $(VENV)/installed   ## every test
	$(BIN)/python -m pytest

check: $(VENV)/installed   ## the whole gate
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest

bench: $(VENV)/installed   ## the figures of docs/benchmarks.md that take minutes, not hours
	$(BIN)/python benchmarks/masking.py
	$(BIN)/python benchmarks/catalogue.py --files 100000
	$(BIN)/python benchmarks/decoding.py
	$(BIN)/python benchmarks/epochs.py
	$(BIN)/python benchmarks/noise.py
	$(BIN)/python benchmarks/private_step.py
	$(BIN)/python benchmarks/ledger.py
	$(BIN)/python benchmarks/demo.py

clean:
	rm -rf $(VENV) demo-out
