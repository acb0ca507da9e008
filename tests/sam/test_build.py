"""``sam validate`` finds nothing; ``sam build`` makes artifacts that Lambda takes and runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sam.cli import ROOT, sam

pytestmark = [pytest.mark.usefixtures("processes"), pytest.mark.timeout(3600)]
"""The first one waits for all functions to be built, llama.cpp included."""

CHECK = ROOT / "infra" / "lambda" / "check_artifact.py"
WITH_MODEL = "InferenceFunction"
FUNCTIONS = (WITH_MODEL, "ApiFunction", "AuthorizerFunction")


def run_in(artifact: Path, code: str) -> str:
    """What ``code`` prints in the artifact, with nothing else to import."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(artifact),
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "PILOTLIGHT_API_KEY_HASH": "0" * 64,
        "PILOTLIGHT_STORE": "dynamodb:table,bucket",
    }
    done = subprocess.run(
        [os.environ["LAMBDA_PYTHON"], "-S", "-c", code],
        cwd=artifact,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_template_is_valid() -> None:
    done = sam("validate", "--lint")
    assert done.returncode == 0, done.stdout
    assert "is a valid SAM Template" in done.stdout
    assert "Warning" not in done.stdout


@pytest.mark.parametrize("function", FUNCTIONS)
def test_an_artifact_passes_the_checks(built: Path, function: str) -> None:
    done = subprocess.run(
        [sys.executable, CHECK, built / function],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("function", FUNCTIONS)
def test_an_artifact_knows_its_version(built: Path, function: str) -> None:
    code = "from importlib.metadata import version; print(version('pilotlight'))"
    assert run_in(built / function, code) == "0.1.0"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_aws_services_can_be_called(built: Path, function: str) -> None:
    code = (
        "import boto3; print([boto3.client(name).meta.endpoint_url for name in "
        "('dynamodb', 's3', 'sns', 'sts')])"
    )
    assert "https://dynamodb.us-east-1.amazonaws.com" in run_in(built / function, code)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_there_is_nothing_of_tests_and_compilers(built: Path, function: str) -> None:
    files = [path for path in (built / function).rglob("*") if "licenses" not in path.parts]
    names = {path.name for path in files}
    assert not names & {"tests", "include", "RECORD", "pip", "huggingface_hub", "rich"}
    suffixes = {path.suffix for path in files}
    assert not suffixes & {".pyi", ".h", ".c", ".a", ".pyx", ".cmake"}


def test_llama_cpp_is_loaded_once(built: Path) -> None:
    """Each of its libraries has one file, so that none is mapped twice."""
    names = sorted(path.name for path in (built / WITH_MODEL / "llama_cpp" / "lib").iterdir())
    assert names == ["libggml-base.so", "libggml-cpu.so", "libggml.so", "libllama.so"]


def test_the_function_with_the_model_can_be_started(built: Path) -> None:
    script = built / WITH_MODEL / "functions" / "aws_lambda" / "run.sh"
    assert os.access(script, os.X_OK)


@pytest.mark.parametrize("function", ["ApiFunction", "AuthorizerFunction"])
def test_other_functions_have_nothing_of_the_model(built: Path, function: str) -> None:
    artifact = built / function
    names = {path.name for path in artifact.iterdir()}
    assert not names & {"llama_cpp", "llguidance", "numpy", "numpy.libs", "uvloop", "awscrt"}
    assert not list(artifact.rglob("*.gguf"))


def test_the_api_function_starts(built: Path) -> None:
    code = "from functions.aws_lambda.api_handler import handler; print(callable(handler))"
    assert run_in(built / "ApiFunction", code) == "True"


@pytest.mark.parametrize("accounts", ["true", "false"])
def test_the_authorizer_starts(built: Path, accounts: str) -> None:
    code = (
        f"import os; os.environ['PILOTLIGHT_ACCOUNTS'] = '{accounts}'; "
        "from functions.aws_lambda.authorizer import handler; print(callable(handler))"
    )
    assert run_in(built / "AuthorizerFunction", code) == "True"


def test_bytecode_is_ready(built: Path) -> None:
    """The artifact is read-only in Lambda: else every cold start would compile anew."""
    cached = built / "ApiFunction" / "functions" / "http" / "__pycache__"
    (app,) = cached.glob("api_app.*.pyc")
    flags = int.from_bytes(app.read_bytes()[4:8], "little")
    assert flags == 0b01  # by hash, unchecked: times of files don't survive their packing
