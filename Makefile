# `make demo` and `make test` need nothing but Python 3.11 or newer.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo examples test coverage kernels check trust bench docs notebooks site clean

# Train a character model from primitives on real text, draw its graph and its gradients into out/, print a sample.
demo: $(VENV)/demo
	$(BIN)/python examples/char_rnn_from_primitives.py

# All that the examples need: then `.venv/bin/python examples/dates.py`, and so on.
examples: $(VENV)/examples

# The tests that need nothing beyond the packages' own extras: all of them with compiled kernels, a process a core and a
# thread each; those of threads by themselves; and what compiled kernels do most, again as NumPy calls. (`make kernels`
# does that to all of the engine and the layers.)
PYTEST := $(BIN)/python -m pytest -q
WORKERS := -n auto --maxprocesses 8 --dist worksteal
THREADED := tests/engine/test_pool.py tests/engine/test_products.py
AS_NUMPY := $(addprefix tests/engine/test_,fusion.py gathering.py hoisting.py linear.py replay.py tape.py) \
	$(addprefix tests/nn/test_,cells.py ctc.py fused_cells.py optimizers.py ragged.py recurrent.py)
test: $(VENV)/test
	OMP_NUM_THREADS=1 $(PYTEST) $(WORKERS) $(COVER) tests --ignore=tests/parity --ignore=tests/browser \
		--ignore=tests/mpi --ignore=tests/notebooks $(THREADED:%=--ignore=%)
	$(PYTEST) $(COVER) $(THREADED)
	OMP_NUM_THREADS=1 MINIGRAD_COMPILE=0 $(PYTEST) $(WORKERS) $(COVER) $(AS_NUMPY)

# The lines that the tests run: 95 % at least, of all and of each folder of fast paths.
coverage: $(VENV)/dev
	rm -f .coverage .coverage.*
	$(MAKE) test COVER="--cov --cov-append --cov-report="
	$(BIN)/python tests/trust/covered.py

# The last bits of a product depend on the kernel that BLAS has for a processor, and on its threads. What the tests
# assert must hold for all: here under each kernel that this processor can run.
kernels: $(VENV)/test
	$(BIN)/python tests/kernels.py

# Lint, types, all that compares with PyTorch, other processors' kernels, the viewer and the site in a browser (skipped
# where there is none), the course's notebooks, and ranks under mpiexec.
check: $(VENV)/dev kernels
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python docs/make_vocabulary.py --check
	$(PYTEST) $(WORKERS) tests/parity
	$(PYTEST) tests/browser
	$(PYTEST) $(WORKERS) tests/notebooks
	OMP_NUM_THREADS=1 $(PYTEST) tests/mpi

# What docs/RELIABILITY.md promises, tried out: about four minutes on two cores; `LONG=1 make trust` takes hours.
trust: $(VENV)/dev
	@failed=0; for subject in faults kills ranks files extremes streams mutants; do \
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
	$(BIN)/python docs/make_diagnose.py
	$(BIN)/python docs/make_interventions.py
	$(BIN)/python docs/make_models.py
	$(BIN)/python docs/make_programs.py
	$(BIN)/python docs/make_cells.py

# The pages of the course as notebooks, in out/notebooks.
notebooks: $(VENV)/dev
	$(BIN)/python docs/make_notebooks.py

# The documentation as a site of files alone: build/site/index.html opens from there.
site: $(VENV)/site
	$(BIN)/python docs/make_site.py

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

$(VENV)/site: $(VENV)/python pyproject.toml
	$(BIN)/python -m pip install -q -e '.[site]'
	touch $@

$(VENV)/test: $(VENV)/python pyproject.toml
	$(BIN)/python -m pip install -q -e '.[examples,fast,test]'
	touch $@

$(VENV)/dev: $(VENV)/python pyproject.toml
	$(BIN)/python -m pip install -q -e '.[examples,test,dev]'
	touch $@
