"""What is in each function's artifact, and what is left out of it."""

from __future__ import annotations

import re
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path

AWS_SERVICES = ("dynamodb", "s3", "secretsmanager", "sns", "ssm", "sts")
"""AWS services that are called: botocore describes four hundred."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the template; ``has_model`` whether it generates.

    ``libraries``: all of pilotlight's dependencies that it imports, where those are few.
    """

    name: str
    has_model: bool
    libraries: frozenset[str] | None = None


FUNCTIONS = {
    function.name: function
    for function in (
        Function("InferenceFunction", has_model=True),
        Function("ApiFunction", has_model=False),
        Function("AuthorizerFunction", has_model=False, libraries=frozenset({"boto3", "orjson"})),
    )
}

_COMPILED_HERE = "llama-cpp-python"
_OF_THE_COMMAND_LINE = frozenset({"httpx2", "huggingface-hub", "rich", "shtab"})
"""Nothing of a function imports them. Models come from S3: ``hf:`` wants a disk that stays."""
_OF_THE_MODEL = frozenset({"awscrt", "httptools", "llguidance", "numpy", "uvicorn", "uvloop"})
"""Of fetching it, of generating with it, and of the server behind the Lambda Web Adapter."""
_OF_LLAMA_CPP_PYTHON = ("diskcache",)
"""What it imports beside what pilotlight needs anyway; it is installed without its dependencies."""

_UNUSED = (
    "bin",
    "**/__pycache__",
    "**/*.dist-info/RECORD",
    "**/*.pyi",
    "*-stubs",
    "**/tests",
    "**/*.[ch]",
    "**/*.a",
    "**/*.pxd",
    "**/*.pxi",
    "**/*.pyx",
    "boto3/examples",
    "botocore/data/*/*/examples-*.json*",
    *(f"google/{name}" for name in ("api", "cloud", "gapic", "logging", "longrunning", "rpc")),
    "google/type",
    "google/protobuf/*_pb2.py",
    "google/protobuf/compiler",
    "numpy/_core/*_tests.*.so",
    "numpy/_core/_simd.*.so",
    "numpy/_core/include",
    "numpy/f2py",
    "numpy/random/lib",
)
"""Glob patterns of what other packages bring for their own building and testing, and of what OTLP
does not use of protobuf: Google's services, and types that it brings along."""

_LLAMA_CPP = re.compile(
    r"llama_cpp/(?!server/|lib/.*\.so\.)|llama_cpp_python-[^/]*\.dist-info/(METADATA|licenses/)"
)
"""Files of its wheel that are needed: not its own server, nor headers and CMake's files."""


def requirements(project: Path, function: Function) -> list[str]:
    """What pip installs for ``function``: pilotlight's own dependencies, unless listed above."""
    metadata = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    left_out = {_COMPILED_HERE} | _OF_THE_COMMAND_LINE
    if not function.has_model:
        left_out |= _OF_THE_MODEL
    wanted = [*metadata["dependencies"], *metadata["optional-dependencies"]["lambda"]]
    kept = [
        each
        for each in wanted
        if _distribution(each) not in left_out
        and (function.libraries is None or _distribution(each) in function.libraries)
    ]
    return [*kept, *_OF_LLAMA_CPP_PYTHON] if function.has_model else kept


def is_needed_of_llama_cpp(name: str) -> bool:
    """Whether the file ``name`` of llama-cpp-python's wheel is needed."""
    return _LLAMA_CPP.match(name) is not None


def prune(artifact: Path) -> None:
    """Delete what is never used."""
    for pattern in _UNUSED:
        for path in list(artifact.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    for library in ("boto3", "botocore"):
        for service in (artifact / library / "data").iterdir():
            if service.is_dir() and service.name not in AWS_SERVICES:
                shutil.rmtree(service)


def _distribution(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._\-]+", requirement)
    assert match is not None
    return match[0].lower()
