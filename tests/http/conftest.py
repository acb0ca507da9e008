"""The event loop of tests that are coroutines."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="module")
def anyio_backend() -> Any:
    """That of servers."""
    return "asyncio", {"use_uvloop": True}
