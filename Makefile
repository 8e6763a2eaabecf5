# Every target makes the environment first if it is missing: a Python >= 3.12 and a package registry are
# all that a machine needs.

VENV = .venv
BIN = $(VENV)/bin
LOCKED = $(VENV)/.locked-packages-installed
READY = $(VENV)/.ready
PIP = $(BIN)/python -m pip --disable-pip-version-check

# Run by every candidate: the exit status says whether it will do.
PYTHON_WILL_DO = import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 12))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-slow docs notebooks lint lock clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1 - \2/p' Makefile

demo: $(READY) ## analyse simulated cohorts from end to end; the report is results/demo/report.html
	$(BIN)/bayes-her2 demo --out results/demo

lint: $(READY) ## style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint ## lint, then every test that is not marked slow
	$(BIN)/python -m pytest -m "not slow" -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test-slow: $(READY) ## the tests marked slow: full-size studies
	$(BIN)/python -m pytest -m slow

notebooks: $(READY) ## run the tutorials at full size and write their .ipynb files
	$(BIN)/python notebooks/build.py

docs: $(READY) ## the documentation, build/docs/index.html; a warning is an error
	$(BIN)/python -m sphinx -q -E -W --keep-going -b html docs build/docs

lock: $(READY) ## rewrite requirements.lock from pyproject.toml (UPGRADE=--upgrade takes newer versions)
	$(BIN)/uv pip compile --quiet $(UPGRADE) --universal --python-version 3.12 --generate-hashes \
	    --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
	    --extra dev pyproject.toml --output-file requirements.lock

clean: ## remove the environment, caches and build outputs; results stay
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps are touched last, so an interrupted installation is started again.
$(READY): $(LOCKED) pyproject.toml
	@echo "Installing bayes_her2 in $(VENV)"
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(LOCKED): requirements.lock
	@rm -rf $(VENV)
	@for candidate in "$$PYTHON" python3.13 python3.12 python3 python "$$HOME"/.pyenv/versions/*/bin/python3; do \
	    if [ -n "$$candidate" ] && "$$candidate" -c '$(PYTHON_WILL_DO)' >/dev/null 2>&1; then \
	        echo "Making $(VENV) with $$candidate"; \
	        "$$candidate" -m venv $(VENV) && exit 0; \
	        exit 1; \
	    fi; \
	done; \
	if command -v uv >/dev/null 2>&1; then \
	    echo "Making $(VENV) with a Python that uv finds or installs"; \
	    uv venv --quiet --seed --python '>=3.12' $(VENV) && exit 0; \
	fi; \
	echo "No Python >= 3.12 with the venv module was found: tried \$$PYTHON, python3.13, python3.12, python3, python," >&2; \
	echo "~/.pyenv/versions/*/bin/python3 and uv. Install one, or name it: make PYTHON=/path/to/python3.12 ..." >&2; \
	exit 1
	@echo "Installing the locked packages in $(VENV) (a few minutes the first time)"
	@$(PIP) install --quiet --require-hashes --requirement requirements.lock
	@touch $@
