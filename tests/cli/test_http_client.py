"""The command line's HTTP client: where requests go, by the base URL that ``--url`` names."""

from __future__ import annotations

import pytest

from functions.cli.http_client import server_client


@pytest.mark.parametrize(
    ("url", "requested"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1/models"),
        ("https://example.com/v1/", "https://example.com/v1/models"),
        # A REST API's stage on AWS
        ("https://example.com/api/v1", "https://example.com/api/v1/models"),
    ],
)
def test_a_base_url_may_have_a_path(url: str, requested: str) -> None:
    with server_client(url, "key", timeout=1) as client:
        assert client.build_request("GET", "/v1/models").url == requested
