# Every command that a person needs. `make` alone lists them.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
RUNTIME := .venv/.installed-runtime
DEV := .venv/.installed-dev
BROWSER := .venv/.installed-browser
ARGS ?=
# Of pytest, 1 to debug; by default as many as tests/parallel.py says.
WORKERS ?= 0
CHROMIUM ?= $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)
ARTIFACTS := $(CURDIR)/build/test-sam
# Containers often set it. Without bytecode each process compiles everything anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test test-unit soak test-clients test-browser test-lm-eval test-sam test-deploy scan check format \
	bench screenshots constraints release clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | \
		awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

run: $(RUNTIME) ## install what is missing and serve on 127.0.0.1:8000 (ARGS="--model FILE.gguf")
	@$(BIN)/pilotlight serve $(ARGS)

test: $(DEV) ## install what is missing and run all tests (ARGS="-k name" for some)
	$(BIN)/python -m tests.parallel --workers $(WORKERS) $(ARGS)

test-unit: $(DEV) ## install what is missing and run the whole logic in process, without exhaustive and slow tests
	$(BIN)/python -m tests.parallel --workers $(WORKERS) -m "unit and not exhaustive and not slow" $(ARGS)

soak: $(DEV) ## kill processes that reserve and settle, 256 at once, and count (ARGS="-k sqlite")
	SOAK_FACTOR=16 $(BIN)/python -m pytest tests/accounts/ledger/test_processes.py $(ARGS)

test-clients: $(DEV) .venv-clients/.installed ## test with LangChain, LiteLLM, instructor (installs them apart)
	CLIENTS_PYTHON=$(CURDIR)/.venv-clients/bin/python $(BIN)/python -m pytest tests/clients $(ARGS)

test-browser: $(BROWSER) ## test the dashboard and pages of other origins in Chromium (CHROMIUM=/path if it is not on PATH)
	@test -x "$(CHROMIUM)" || { echo "These tests need Chromium: 'apt install chromium', or CHROMIUM=/path/to/it."; exit 1; }
	CHROMIUM=$(CHROMIUM) $(BIN)/python -m pytest tests/browser $(ARGS)

screenshots: $(BROWSER) ## take the dashboard's screenshots in docs/images anew (ARGS="usage keys" for some)
	@test -x "$(CHROMIUM)" || { echo "This needs Chromium: 'apt install chromium', or CHROMIUM=/path/to/it."; exit 1; }
	CHROMIUM=$(CHROMIUM) $(BIN)/python tools/take_screenshots.py $(ARGS)

test-lm-eval: $(DEV) .venv-evaluation/.installed ## test with lm-eval (installs it apart)
	LM_EVAL_PYTHON=$(CURDIR)/.venv-evaluation/bin/python $(BIN)/python -m pytest tests/evaluation $(ARGS)

test-sam: $(DEV) .venv-sam/.installed .venv-lambda/.installed ## build for AWS Lambda with SAM CLI, test what is built (installs it apart)
	SAM=$(CURDIR)/.venv-sam/bin/sam SAM_BUILD_DIR=$(ARTIFACTS) \
		LAMBDA_PYTHON=$(CURDIR)/.venv-lambda/bin/python $(BIN)/python -m pytest tests/sam $(ARGS)
	LAMBDA_TASK_ROOT=$(ARTIFACTS)/InferenceFunction \
		LAMBDA_PYTHON=$(CURDIR)/.venv-lambda/bin/python $(BIN)/python -m pytest tests/aws_lambda $(ARGS)

test-deploy: $(DEV) .venv-sam/.installed .venv-deploy/.installed ## deploy with SAM CLI to an emulator of AWS, and use it (installs both apart)
	SAM=$(CURDIR)/.venv-sam/bin/sam SAM_BUILD_DIR=$(ARTIFACTS) \
		MINISTACK_PYTHON=$(CURDIR)/.venv-deploy/bin/python $(BIN)/python -m pytest tests/deploy $(ARGS)

scan: $(DEV) .venv-scan/.installed ## look for what is unsafe in the template and the image with checkov (installs it apart)
	CHECKOV=$(CURDIR)/.venv-scan/bin/checkov $(BIN)/python -m pytest tests/scan $(ARGS)

release: ## wheels, the functions' zip packages and their checksums, into build/release (ARGS="--architectures arm64")
	@test -n "$(PYTHON)" || { echo "pilotlight needs Python 3.11 or newer (set PYTHON=...)"; exit 1; }
	@$(PYTHON) infra/lambda/release.py $(ARGS)

check: $(DEV) ## lint, formatting, types and the template
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/cfn-lint template.yaml

format: $(DEV) ## apply the formatting and the lint fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(DEV) ## measure beside other servers (ARGS="--only overhead"; LLAMA_SERVER=path adds llama-server)
	$(BIN)/python -m benchmarks $(ARGS)

constraints: $(DEV) $(BROWSER) ## write constraints.txt anew from what is installed
	$(BIN)/python -m pip freeze --exclude-editable | grep -v '^pip==' > constraints.txt

clean: ## remove everything that was installed or built
	rm -rf .venv .venv-* .aws-sam build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find benchmarks functions infra shared tests tools -name __pycache__ -prune -exec rm -rf {} +

$(RUNTIME): pyproject.toml constraints.txt tools/bootstrap.py
	@test -n "$(PYTHON)" || { echo "pilotlight needs Python 3.11 or newer (set PYTHON=...)"; exit 1; }
	@$(PYTHON) tools/bootstrap.py
	@touch $@

$(DEV): pyproject.toml constraints.txt tools/bootstrap.py
	@test -n "$(PYTHON)" || { echo "pilotlight needs Python 3.11 or newer (set PYTHON=...)"; exit 1; }
	@$(PYTHON) tools/bootstrap.py --dev
	@touch $@ $(RUNTIME)

# Playwright drives the Chromium that is there, and installs none.
$(BROWSER): $(DEV)
	@echo "Installing what the tests in a browser need"
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt --editable ".[browser]"
	@touch $@

# What other groups of tests need, each in an environment of its own.
.venv-%/.installed: tests/%/requirements.txt tests/%/constraints.txt
	@test -n "$(PYTHON)" || { echo "pilotlight needs Python 3.11 or newer (set PYTHON=...)"; exit 1; }
	@echo "Installing $< into $(@D)"
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip --disable-pip-version-check install --quiet -r $< -c $(word 2,$^)
	@touch $@

# The Python that runs the functions in tests, the runtime's if it is there, with what it has in AWS
# Lambda.
.venv-lambda/.installed: constraints.txt
	@for p in $(LAMBDA_PYTHON) python3.13 $(BIN)/python; do $$p -m venv $(@D) 2>/dev/null && break; done
	@$(@D)/bin/python -m pip --disable-pip-version-check install --quiet \
		awslambdaric snapshot-restore-py -c constraints.txt
	@touch $@

# The emulator of AWS runs the functions with its own Python.
.venv-deploy/.installed: tests/deploy/requirements.txt tests/deploy/constraints.txt .venv-lambda/.installed
	@.venv-lambda/bin/python -m venv $(@D)
	@$(@D)/bin/python -m pip --disable-pip-version-check install --quiet -r $< -c $(word 2,$^)
	@touch $@
