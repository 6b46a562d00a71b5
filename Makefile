# `make demo` and `make test` need nothing but Python 3.11 or newer.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo examples test check trust bench docs clean

# Train a character model from primitives on real text, draw its graph and its gradients into out/, print a sample.
demo: $(VENV)/demo
	$(BIN)/python examples/char_rnn_from_primitives.py

# All that the examples need: then `.venv/bin/python examples/dates.py`, and so on.
examples: $(VENV)/examples

# The tests that need nothing beyond the packages' own extras.
test: $(VENV)/test
	$(BIN)/python -m pytest tests --ignore=tests/parity --ignore=tests/browser -q

# Lint, types, all that compares with PyTorch, the compiled kernels and the layers on them, and the viewer in a browser
# (skipped where there is none).
check: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python docs/make_vocabulary.py --check
	$(BIN)/python -m pytest tests/parity tests/nn tests/engine/test_compiled.py tests/engine/test_fusion.py \
		tests/engine/test_products.py tests/engine/test_hoisting.py tests/engine/test_replay.py \
		tests/nlp/test_word2vec_compiled.py tests/nlp/test_word_vectors.py -q
	$(BIN)/python -m pytest tests/browser -q

# What docs/RELIABILITY.md promises, tried out: about ten minutes on two cores; `LONG=1 make trust` takes hours.
trust: $(VENV)/test
	@failed=0; for subject in faults kills files extremes streams mutants; do \
		$(BIN)/python tests/trust/$$subject.py || failed=1; \
	done; exit $$failed

# Speed and memory, beside the peers that are installed; nothing else should run meanwhile.
bench: $(VENV)/dev
	$(BIN)/python -m benchmarks

# Pages that are made from the code.
docs: $(VENV)/test
	$(BIN)/python docs/make_vocabulary.py
	$(BIN)/python docs/make_figures.py
	$(BIN)/python docs/make_gallery.py
	$(BIN)/python docs/make_word_vectors.py
	$(BIN)/python docs/make_decoding.py

clean:
	rm -rf $(VENV) out build *.egg-info

$(VENV)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "minigrad needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/demo: $(VENV)/python pyproject.toml
	$(BIN)/python -m pip install -q -e '.[viz]'
	touch $@

$(VENV)/examples: $(VENV)/python pyproject.toml
	$(BIN)/python -m pip install -q -e '.[examples]'
	touch $@

$(VENV)/test: $(VENV)/python pyproject.toml
	$(BIN)/python -m pip install -q -e '.[examples,test]'
	touch $@

$(VENV)/dev: $(VENV)/python pyproject.toml
	$(BIN)/python -m pip install -q -e '.[examples,test,dev]'
	touch $@
