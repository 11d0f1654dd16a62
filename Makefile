# The commands of the book. Each sets up .venv first if need be: `make book` is the
# only thing to type on a machine that has Python 3.11 or newer.
.DEFAULT_GOAL := help
SHELL := /bin/sh

VENV := .venv
PY := $(VENV)/bin/python
CHAPTER ?=
SEEDS ?= 5
SOURCE ?=
# Tests run side by side, each with one thread; no notebook cell may take longer.
WORKERS ?= 2
CELL_SECONDS ?= 300

export PYTHONUNBUFFERED := 1

.PHONY: help setup book epub test lab run evidence clean

help: ## list the commands
	@echo "What the Network Sees: 25 vision papers, rebuilt and measured"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile
	@echo "  (PYTHON=/path/to/python3 chooses the interpreter of a new $(VENV))"

setup: $(VENV)/.installed ## create .venv and install requirements.txt

$(VENV)/.installed: requirements.txt pyproject.toml tools/setup.sh
	@PYTHON="$(PYTHON)" sh tools/setup.sh $(VENV)

# Pages are built from stored outputs, without torch.
$(VENV)/.pages: requirements.txt tools/setup.sh
	@PYTHON="$(PYTHON)" sh tools/setup.sh $(VENV) pages

book: $(VENV)/.pages ## build the book from the stored outputs
	@$(PY) tools/build.py

epub: $(VENV)/.pages ## build the book with an EPUB that its front page offers
	@$(PY) tools/build.py --epub

test: $(VENV)/.installed ## test the package, the chapters, the book and its pages
	@echo "Testing with $(WORKERS) workers (about a minute for each chapter)"
	@$(PY) -m pytest tests book -n $(WORKERS) --no-loadscope-reorder \
		--nbval-lax --nbval-current-env --nbval-cell-timeout $(CELL_SECONDS)

lab: $(VENV)/.installed ## open JupyterLab on the chapters
	@$(PY) -m jupyter trust book/*.ipynb book/*/*.ipynb >/dev/null  # else no sketch shows
	@$(PY) -m jupyterlab book

run: $(VENV)/.installed ## run chapters, store outputs and rows [CHAPTER=hed]
	@$(PY) tools/run.py $(CHAPTER)

evidence: $(VENV)/.installed ## measure a claim: CHAPTER=hed [SEEDS=5] [SOURCE=bsds500]
	@test -n "$(CHAPTER)" || { echo "Which chapter? make evidence CHAPTER=..." >&2; \
		$(PY) tools/run.py --list >&2; exit 2; }
	@$(PY) tools/measure.py $(CHAPTER) --seeds $(SEEDS) \
		$(if $(SOURCE),--source $(SOURCE))

clean: ## remove what `book` and `test` built (keeps .venv)
	@rm -rf _build build .pytest_cache *.egg-info
	@find utils tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "Removed _build; the environment $(VENV) is kept."
