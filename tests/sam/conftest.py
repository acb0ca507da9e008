"""SAM CLI, and what it builds. Without a SAM CLI there is nothing to collect here.

SAM CLI needs versions of libraries that differ from those of development, so it has a virtual
environment of its own.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_SAM = "SAM"
_CONFIGURATION = ROOT / "samconfig.example.toml"
_SECONDS = 1800
"""Far more than compiling llama.cpp takes."""

collect_ignore_glob = [] if _SAM in os.environ else ["*"]


@pytest.fixture(scope="session")
def built() -> Path:
    """The directory with the three functions' artifacts, as ``sam build`` made them now.

    ``SAM_BUILD_DIR`` says where; not where ``sam deploy`` looks, since they may be for the Python
    that is here instead of the runtime's.
    """
    directory = Path(os.environ["SAM_BUILD_DIR"])
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    version = subprocess.check_output([os.environ["LAMBDA_PYTHON"], "-c", code], text=True).strip()
    os.environ["LAMBDA_PYTHON_VERSION"] = version
    done = sam("build", "--build-dir", str(directory))
    assert done.returncode == 0, done.stdout
    return directory


def sam(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What a command of SAM CLI printed, errors included."""
    return subprocess.run(
        [os.environ[_SAM], command, "--config-file", str(_CONFIGURATION), *arguments],
        cwd=ROOT,
        env={**os.environ, "SAM_CLI_TELEMETRY": "0", "AWS_DEFAULT_REGION": "us-east-1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
