"""Sampling as on the engine's thread, where an overflow is no news."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def ignored_overflows() -> Iterator[None]:
    with np.errstate(over="ignore"):
        yield
