"""What the functions import: the one without a model, much less than the one with a model.

`benchmarks.lambda_coldstart` measures how long that takes; here are the things to count. FastAPI
adds a fifth to ApiFunction's start, with what `functions.http.fastapi_import` leaves out.
InferenceFunction imports it for the first request that is for no completion.
"""

from __future__ import annotations

import subprocess

import pytest

from tests.aws_lambda.function import PYTHON, TASK_ROOT, environment

pytestmark = pytest.mark.usefixtures("processes")

API = "functions.aws_lambda.api_handler"
INFERENCE = "functions.aws_lambda.inference_handler"
STREAMING = "functions.aws_lambda.streaming_server"
SHARE = 0.7
"""Of InferenceFunction's imports, what ApiFunction's may come to."""
ONLY_FOR_A_MODEL = {"fastapi_offline", "jinja2", "llama_cpp", "llguidance", "numpy", "uvicorn"}


def modules(*imported: str) -> set[str]:
    """The modules of a process that has imported these: a function's handler initializes it."""
    return set(run(f"import sys, {', '.join(imported)}; print(*sys.modules)").split(" "))


def run(code: str) -> str:
    """The last line that a process prints which runs ``code`` as a function would."""
    done = subprocess.run(
        [PYTHON, "-c", code],
        cwd=TASK_ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()[-1]


def test_the_function_without_a_model_imports_little_of_what_the_other_one_does() -> None:
    api = modules(API)
    inference = modules(INFERENCE, "shared.models.s3.source")

    assert not {name.partition(".")[0] for name in api} & ONLY_FOR_A_MODEL
    assert len(api) < SHARE * len(inference)


def test_an_openapi_document_is_not_prepared_without_a_model() -> None:
    assert "functions.http.openapi.document" not in modules(API)


def test_fastapi_builds_no_models_that_only_a_document_needs() -> None:
    check = (
        "from fastapi.openapi.models import Info, OpenAPI\n"
        "from pydantic import BaseModel\n"
        "print(Info.__pydantic_complete__, 'defer_build' in BaseModel.model_config)"
    )
    assert run(f"import {API}\n{check}") == "False False"


def test_pydantic_1_is_not_imported() -> None:
    """FastAPI would do so to know that no model is one of its."""
    names = modules(API)
    assert not {name for name in names if name.startswith("pydantic.v1.")}


def test_aws_library_is_not_imported_before_it_is_used() -> None:
    assert "boto3" not in modules(API) | modules(INFERENCE)


def test_the_model_is_on_its_way_before_settings_are_imported() -> None:
    begin = (
        "import os, sys\n"
        "from shared.models.s3 import early_fetch\n"
        "os.environ['PILOTLIGHT_MODEL'] = 's3://bucket/model.gguf'\n"
        "def begin(*asked):\n"
        "    print(asked, 'pydantic' in sys.modules)\n"
        "    sys.exit()\n"
        "early_fetch.begin = begin\n"
    )
    asked = "('s3://bucket/model.gguf', 'memory')"
    assert run(f"{begin}import {INFERENCE}") == f"{asked} False"
    assert run(f"{begin}import {STREAMING} as server\nserver.main()") == f"{asked} False"


def test_completions_do_without_fastapi() -> None:
    assert "fastapi" not in modules(INFERENCE)


def test_what_is_initialized_ahead_of_invocations_has_it() -> None:
    ahead = "import os; os.environ['AWS_LAMBDA_INITIALIZATION_TYPE'] = 'snap-start'"
    check = "print('fastapi' in sys.modules)"
    assert run(f"{ahead}\nimport sys, {INFERENCE}\n{check}") == "True"
