"""docs/api.md: every row of a request that says "supported" has a test that shows it."""

from __future__ import annotations

import pytest

import tests.api.test_conformance_chat
import tests.api.test_conformance_requests
import tests.api.test_conformance_sampling
import tests.api.test_draft_models
import tests.api.test_predictions  # noqa: F401  (each notes what it shows)
from tests.api.conformance import SHOWN, exists
from tests.docs.api_page import rows

REQUESTS = ("chat.request", "chat.request+", "text.request", "text.request+")
SUPPORTED = {row.key for row in rows(*REQUESTS) if row.status in ("supported", "in part")}


@pytest.mark.parametrize("key", sorted(SUPPORTED))
def test_a_supported_row_has_a_test(key: str) -> None:
    assert SHOWN.get(key)


@pytest.mark.parametrize("key", sorted(SHOWN))
def test_what_tests_show_is_a_row(key: str) -> None:
    assert key in SUPPORTED


@pytest.mark.parametrize("test", sorted({test for tests in SHOWN.values() for test in tests}))
def test_the_tests_exist(test: str) -> None:
    assert exists(test)
