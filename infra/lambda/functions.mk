# What `sam build` runs for each function (BuildMethod: makefile), in the repository's root.
# SAM says where to put the artifact (ARTIFACTS_DIR), but not for which architecture: that is known
# by which of the two Makefiles includes this file.

PYTHON ?= $(shell for p in .venv/bin/python python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

build-InferenceFunction build-ApiFunction build-AuthorizerFunction:
	@test -n "$(PYTHON)" || { echo "the build needs Python 3.11 or newer with pip" >&2; exit 1; }
	@$(PYTHON) infra/lambda/build_function.py $(@:build-%=%) \
		--architecture $(ARCHITECTURE) --into "$(ARTIFACTS_DIR)" \
		$(if $(LAMBDA_PYTHON_VERSION),--python-version $(LAMBDA_PYTHON_VERSION))
