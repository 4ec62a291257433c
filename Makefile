# Two commands are all a newcomer needs: `make demo` and `make test`. Everything else they install by themselves.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
OUT    := out/demo
LOG    ?=
comma  := ,

# Arithmetic as on the oldest processor: torch, oneDNN, MKL, OpenBLAS (of numpy) and numba, each by its own variable.
GENERIC := ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_ENABLE_INSTRUCTIONS=SSE4_2 MKL_CBWR=COMPATIBLE \
  OPENBLAS_CORETYPE=Prescott NUMBA_CPU_NAME=generic NUMBA_CACHE_DIR=$(CURDIR)/out/numba-generic
SERVED  := $(addprefix tests/serving/test_,item_map.py lists.py onnx.py similar.py) \
  tests/test_explanation.py tests/test_indexing.py tests/evaluation/test_replay.py
TRAINED := tests/training tests/recommenders $(SERVED) $(addprefix tests/experiments/test_,sizing.py store.py tuning.py)
NUMERIC := tests/model tests/retrieval tests/sampling tests/portable tests/testing tests/test_topk.py $(TRAINED)
PYTEST  := $(BIN)/python -m pytest -q -n 2 --dist loadfile --max-worker-restart 0

.PHONY: demo test quick test-generic test-seed check bench docs clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, found %d.%d; set PYTHON=python3.x" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all]'
	touch $(READY)

demo: $(READY)
	@mkdir -p $(OUT)
	@if [ -z "$(LOG)" ]; then $(BIN)/nearnext synth $(OUT)/shop.parquet; fi
	$(BIN)/nearnext fit "$(or $(LOG),$(OUT)/shop.parquet)" --method metric-fast --out $(OUT)/model
	$(BIN)/nearnext compare "$(or $(LOG),$(OUT)/shop.parquet)" --methods pop,spop,markov-1,ar,sr,sknn,vsknn,vstan,metric-fast --json $(OUT)/result.json --report $(OUT)/report.html
	@echo
	@echo "The report is $(OUT)/report.html: open it in a browser."
	@echo "Recommend:  $(BIN)/nearnext recommend $(OUT)/model --session $(if $(LOG),ITEM$(comma)ITEM,sku-00007$(comma)sku-01144) --k 5"
	@echo "Serve it, and open http://127.0.0.1:8000:  $(BIN)/nearnext serve $(OUT)/model"

test: $(READY)
	$(PYTEST)

quick: $(READY)
	$(PYTEST) tests -m "not slow and not fault and not real_logs"

test-generic: $(READY)
	$(GENERIC) $(PYTEST) $(NUMERIC)

test-seed: $(READY)
	NEARNEXT_TEST_SEED=1 $(PYTEST) $(TRAINED)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/python benchmarks/session_knn.py
	$(BIN)/python benchmarks/comparison.py
	$(BIN)/python benchmarks/reading.py --events 5000000

docs: $(READY)
	$(BIN)/python docs/reference.py
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) out site .pytest_cache .ruff_cache .hypothesis
