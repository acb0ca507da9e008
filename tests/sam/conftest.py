"""What SAM CLI builds. Without a SAM CLI there is nothing to collect here.

SAM CLI needs versions of libraries that differ from those of development, so it has a virtual
environment of its own.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.sam.cli import build

collect_ignore_glob = [] if "SAM" in os.environ else ["*"]


@pytest.fixture(scope="session")
def built() -> Path:
    """The directory with the functions' artifacts."""
    return build(os.environ["LAMBDA_PYTHON"])
