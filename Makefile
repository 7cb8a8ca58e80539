# Each target does all of its own set-up in .venv and may be repeated. PYTHON=python3.12 chooses another.
PYTHON ?= python3
BIN := .venv/bin

# lm-eval brings eighty packages with it: its comparison is run on demand.
.PHONY: demo test newest package oracles demo-models sample-runs recording bench bench-screen gpu clean

demo: .venv/ftev-installed
	$(BIN)/ftev-tui demo

test: .venv/ftev-tested
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n 3 --dist worksteal  # each process would compile all

# The newest of every dependency, in an environment of its own. Of torch the CPU build, from its own
# index; make newest TORCH=torch==2.13.0+cpu takes one from where pip looks anyway.
TORCH ?= torch --index-url https://download.pytorch.org/whl/cpu
NEWEST := .venv/newest/bin/python -m pip --quiet --disable-pip-version-check
newest:
	$(PYTHON) -m venv --clear .venv/newest
	$(NEWEST) install $(TORCH)
	.venv/newest/bin/python -m pip list --format=freeze | grep '^torch==' > .venv/newest/torch.txt
	$(NEWEST) install -c .venv/newest/torch.txt -e '.[dev]'
	.venv/newest/bin/python -m pip list
	.venv/newest/bin/python -m pytest -n 3 --dist worksteal $(TESTS)

# The wheel and the sdist, and the wheel at work in an empty environment.
package: .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check build
	$(BIN)/python -m build
	$(PYTHON) -m venv --clear .venv/wheel
	.venv/wheel/bin/python -m pip install --quiet --disable-pip-version-check --no-deps dist/*.whl
	.venv/wheel/bin/ftev-tui --version
	cd / && $(CURDIR)/.venv/wheel/bin/python -m ftev --version

oracles: .venv/ftev-tested
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,oracles]'
	$(BIN)/pytest -q tests/engine/test_likelihood_oracle.py

bench: .venv/ftev-tested
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,bench]'
	$(BIN)/python tests/bench/all.py

# What only a GPU can show, into tests/bench/RESULTS-gpu.md: 25 minutes at most, no part over 9.
# make gpu PARTS="classifier causal-1b" runs some of them. torch must be a CUDA build.
# Peers that cannot be installed are named in the results, and the other parts run all the same.
gpu: .venv/ftev-tested
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,bench]' bitsandbytes
	$(BIN)/python tests/bench/gpu.py $(if $(PARTS),--part $(PARTS))

bench-screen: .venv/ftev-tested
	$(BIN)/python tests/bench/screen.py

demo-models: .venv/ftev-installed
	$(BIN)/python -m ftev.core.engine.demo_models

sample-runs: .venv/ftev-installed
	$(BIN)/python tests/make_sample_runs.py

recording: .venv/ftev-tested
	$(BIN)/python tests/make_recording.py

.venv/bin/python:
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "ftev needs Python 3.11 or newer"'
	$(PYTHON) -m venv .venv

.venv/ftev-installed: .venv/bin/python pyproject.toml setup.py constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

.venv/ftev-tested: .venv/ftev-installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf .venv build dist *.egg-info
