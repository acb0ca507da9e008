"""An emulator of AWS, with the stack deployed. Without it there is nothing to collect here.

The emulator runs functions with the Python that runs itself: they are built for that one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.emulator import Emulator
from tests.deploy.stack import Stack
from tests.sam.cli import build

ENDPOINTS = {
    "rest-api": {"SnapStart": "on"},
    "http-api": {
        "SnapStart": "off",
        "Accounts": "true",
        "Prices": json.dumps({"pilotlight-builtin": {"prompt": 2, "completion": 10}}),
        "UsageCost": "true",
        "RetentionDays": "30",
        "CorsOrigins": "https://example.com",
        "AlarmEmail": "alarms@example.com",
        "AccessLog": "on",
        "Tracing": "on",
        "KeepWarmMinutes": "5",
    },
    "function-url": {"SnapStart": "off"},
}
"""Values of the parameter ``Endpoint``, and others to deploy with each."""
_PYTHON = "MINISTACK_PYTHON"

collect_ignore_glob = [] if _PYTHON in os.environ else ["*"]


@pytest.fixture(scope="session")
def emulator(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """The emulator, with nothing in it but the adapter's layer."""
    emulator = Emulator(os.environ[_PYTHON], tmp_path_factory.mktemp("emulator"))
    try:
        emulator.publish_adapter()
        yield emulator
    finally:
        emulator.stop()


@pytest.fixture(scope="session")
def built() -> Path:
    """What ``sam build`` makes of the source, with the libraries that were compiled before."""
    return build(os.environ[_PYTHON])


@pytest.fixture(scope="module", params=ENDPOINTS)
def stack(
    request: pytest.FixtureRequest,
    emulator: Emulator,
    built: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Stack:
    """The template deployed with each of its endpoints, and the key ``stack.key``."""
    endpoint: str = request.param
    stack = Stack(endpoint, emulator, os.environ["SAM"], built, tmp_path_factory.mktemp("stack"))
    stack.deploy(key=f"first-key-of-{endpoint}", Endpoint=endpoint, **ENDPOINTS[endpoint])
    return stack
