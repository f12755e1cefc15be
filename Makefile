# make quickstart   score the model that ships on real recordings, and draw a map of them to hear
# make test         environment, lint, types, documentation, tests
# make docs         the documentation as pages in site/; warnings are errors
# make bench        measurements side by side with SynthAX, torchsynth and audiomentations, in an environment of its own
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUN := runs/quickstart
BENCH ?= .bench

.PHONY: help quickstart install test bench docs lint types format clean

help:
	@sed -n 's/^# make/make/p' Makefile

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "soundalike needs Python 3.11 or newer; choose one with: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test]'
	touch $@

quickstart: $(RUN)/report.html $(RUN)/map.html
	@printf 'how well it hears: %s\nthe sounds, to see and hear: %s\n' $(abspath $^)

$(RUN)/report.html: | $(VENV)/installed
	$(BIN)/soundalike evaluate --task esc10 --task fsdd --data data --out $(RUN)

$(RUN)/map.html: | $(VENV)/installed
	$(BIN)/soundalike map data --out $@

test: lint types docs
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

bench: $(BENCH)/installed
	$(BENCH)/bin/python -m benchmarks $(SCRIPTS)

$(BENCH)/installed: pyproject.toml constraints.txt benchmarks/constraints.txt
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet -c constraints.txt -c benchmarks/constraints.txt -e '.[bench]'
	@# What torchsynth says it needs is too old, and audiomentations wants an older soxr than ours. Where one of them
	@# cannot be installed, its rows say so.
	for package in torchsynth audiomentations; do \
		$(BENCH)/bin/python -m pip install --quiet --no-deps -c benchmarks/constraints.txt $$package \
			|| echo "$$package cannot be installed here; its rows will have no comparison"; \
	done
	touch $@

# The variable keeps a notice of the theme's makers about another program out of the output.
docs: $(VENV)/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed
	$(BIN)/mypy

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(BENCH) site runs/quickstart .mypy_cache .ruff_cache .pytest_cache .hypothesis
