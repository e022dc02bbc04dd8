# Two commands: `make demo` and `make test`; `make docs` builds the site. Everything they cache stays inside the checkout.
PYTHON ?= python3.11
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
export MPLCONFIGDIR := $(CURDIR)/.cache/matplotlib
export NUMBA_CACHE_DIR := $(CURDIR)/.cache/numba
export VOLTASPIN_CACHE := $(CURDIR)/.cache/voltaspin
export HF_HUB_OFFLINE := 1
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: demo test docs lint clean lock

demo: $(VENV)/.demo
	$(BIN)/voltaspin demo --out demo-report

# The files of tests are dealt to as many processes as WORKERS says, each with one thread for matrix products.
test: $(VENV)/.test lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

# The site: pages are executed, a warning is an error. Its start page is build/site/index.html.
docs: $(VENV)/.test
	$(BIN)/python -m sphinx -b html -W --keep-going -q docs build/site

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(VENV)/bin/python requirements.lock pyproject.toml
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

$(VENV)/.test: $(VENV)/.demo requirements-test.lock
	$(BIN)/python -m pip install --quiet --requirement requirements-test.lock
	touch $@

# Both lock files from pyproject.toml; needs pip-tools. torch is the one version that is chosen by hand.
PIN := pip-compile --quiet --strip-extras --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
       --no-emit-trusted-host --constraint .cache/torch.txt
lock:
	mkdir -p .cache && echo 'torch==2.13.0' > .cache/torch.txt
	$(PIN) --extra diffusion --output-file requirements.lock pyproject.toml
	$(PIN) --constraint requirements.lock --extra diffusion --extra docs --extra test --output-file requirements-test.lock pyproject.toml
	sed -i -e 's/^torch==2.13.0+.*/torch==2.13.0/' -e '/^$$/d' -e '/^# /d' requirements.lock requirements-test.lock

clean:
	rm -rf $(VENV) .cache demo-report
