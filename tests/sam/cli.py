"""SAM CLI, and ``sam build`` for the Python that is here."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONFIGURATION = ROOT / "samconfig.example.toml"
"""What users copy to samconfig.toml."""
_SECONDS = 1800
"""Far more than compiling llama.cpp takes."""


def build(python: str) -> Path:
    """The directory with the functions' artifacts, as ``sam build`` made them now for ``python``.

    ``SAM_BUILD_DIR`` says where; not where ``sam deploy`` looks, since they may be for the Python
    that is here instead of the runtime's.
    """
    directory = Path(os.environ["SAM_BUILD_DIR"])
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    version = subprocess.check_output([python, "-c", code], text=True).strip()
    os.environ["LAMBDA_PYTHON_VERSION"] = version
    done = sam("build", "--build-dir", str(directory))
    assert done.returncode == 0, done.stdout
    return directory


def sam(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What a command of SAM CLI printed, errors included."""
    return subprocess.run(
        [os.environ["SAM"], command, "--config-file", str(CONFIGURATION), *arguments],
        cwd=ROOT,
        env={**os.environ, "SAM_CLI_TELEMETRY": "0", "AWS_DEFAULT_REGION": "us-east-1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
