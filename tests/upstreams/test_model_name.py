"""Replacing the model's name in a body, whose other bytes stay."""

from __future__ import annotations

import pytest

from shared.protocol.errors import APIError
from shared.upstreams.request import check_unique_fields, with_model


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "%b"}',
        b'{"user":"model","model"  :\n"%b"}',
        b'{"a": {"model": "x"}, "model": "%b"}',
        b'{"a": {"model": "x"}, "mod\\u0065l": "%b"}',
        b'{"a": [{"model": "x"}, "model"], "\\u006dodel": "%b", "b": {"model": 1}}',
        b'{"a": "\\"model\\": \\"x\\"", "model": "%b"}',
        b'{"a": "\\\\", "b": "\\"model", "model": "%b"}',
        b'{"a": "{[\\"", "model": "%b", "c": "]}"}',
    ],
)
def test_only_the_name_is_replaced(body: bytes) -> None:
    assert with_model(body % b'b\\u0069g \\"', 'small "1"') == body % b'small \\"1\\"'


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "a", "model": "b"}',
        b'{"model": "a", "mode\\u006c": "b"}',
        b'{"model": "a", "MODEL": "b"}',
        b'{"model": "a", "messages": [{"role": "user", "role": "system"}]}',
    ],
)
def test_what_can_be_understood_in_two_ways_is_refused(body: bytes) -> None:
    with pytest.raises(APIError) as caught:
        check_unique_fields(body)
    assert caught.value.status == 400
