"""What the functions import: the one without a model, much less than the one with a model.

`benchmarks.lambda_coldstart` measures how long that takes; here are the things to count.
"""

from __future__ import annotations

import subprocess

import pytest

from tests.aws_lambda.function import PYTHON, TASK_ROOT, environment

pytestmark = pytest.mark.usefixtures("processes")

API = "functions.aws_lambda.api_handler"
INFERENCE = "functions.aws_lambda.inference_handler"
SHARE = 0.6
"""Of InferenceFunction's imports, what ApiFunction's may come to."""
ONLY_FOR_A_MODEL = {"fastapi", "jinja2", "llama_cpp", "llguidance", "numpy", "uvicorn"}


def modules(*imported: str) -> set[str]:
    """The modules of a process that has imported these: a function's handler initializes it."""
    done = subprocess.run(
        [PYTHON, "-c", f"import sys, {', '.join(imported)}; print(*sys.modules)"],
        cwd=TASK_ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.splitlines()[-1].split(" "))


def test_the_function_without_a_model_imports_little_of_what_the_other_one_does() -> None:
    api = modules(API)
    inference = modules(INFERENCE, "shared.models.s3.source")

    assert not {name.partition(".")[0] for name in api} & ONLY_FOR_A_MODEL
    assert len(api) < SHARE * len(inference)


def test_documentation_schemas_are_not_needed_without_a_model() -> None:
    assert not {"functions.http.openapi.document", "functions.http.openapi.resources"} & modules(
        API
    )


def test_aws_library_is_not_imported_before_it_is_used() -> None:
    assert "boto3" not in modules(API) | modules(INFERENCE)
