"""Bodies: the same bytes for the same completion, and clear words for bytes that are none."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.storage.base import DamagedCompletionError, StoreError
from shared.storage.codec import decode, encode
from shared.storage.types import Place
from tests.storage.completions import sample
from tests.sweeps import examples

COMPLETION = sample(tenant="lamp", metadata={"run": "7"})
PLACE = Place(COMPLETION.tenant, COMPLETION.kind, COMPLETION.id)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    max_leaves=10,
)


def body_of(data: Any) -> bytes:
    """A body that says ``data``."""
    return gzip.compress(orjson.dumps(data), mtime=0)


CONTENT: dict[str, Any] = orjson.loads(gzip.decompress(encode(COMPLETION)))
"""What a whole body says."""


def test_a_body_is_one_json_object_in_gzip() -> None:
    data = json.loads(gzip.decompress(encode(COMPLETION)))

    assert data["version"] == 1
    assert data["id"] == COMPLETION.id
    assert data["request"] == COMPLETION.request
    assert "metadata" not in data


def test_equal_completions_have_equal_bodies() -> None:
    body = encode(COMPLETION)

    assert encode(sample(tenant="lamp")) == body
    assert int.from_bytes(body[4:8], "little") == 0  # gzip's time of writing


@pytest.mark.slow
@settings(max_examples=examples(40), derandomize=True, database=None, deadline=None)
@given(st.dictionaries(st.text(), json_values))
def test_all_json_is_read_as_it_was_written(value: dict[str, Any]) -> None:
    completion = replace(COMPLETION, request=value, response=value)

    found = decode(encode(completion), completion.metadata, PLACE, "here")

    assert found == completion
    assert repr(found) == repr(completion)


def test_bodies_of_the_first_version_stay_readable() -> None:
    body = base64.b64decode(FIRST_VERSION)

    assert decode(body, {"run": "7"}, PLACE, "here") == COMPLETION


@pytest.mark.parametrize(
    "value",
    [object(), {1: "a"}, 2**64, "\ud800"],
    ids=["object", "integer name", "64 bits", "half a pair"],
)
def test_what_json_does_not_have_is_refused(value: Any) -> None:
    with pytest.raises(StoreError, match=f"^completion {COMPLETION.id} can't be written as JSON: "):
        encode(replace(COMPLETION, request={"a": value}))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"plain",
        encode(COMPLETION)[:-1],
        encode(COMPLETION)[:200],
        encode(COMPLETION)[:100] + b"\0" + encode(COMPLETION)[101:],
        gzip.compress(b"no JSON", mtime=0),
        body_of([]),
        body_of({}),
        body_of({"version": 1}),
        body_of({"version": 1, "id": "a", "colour": "red"}),
        body_of(CONTENT | {"request": []}),
        body_of(CONTENT | {"response": None}),
        body_of(CONTENT | {"timings": 5}),
        body_of(CONTENT | {"created": "today"}),
        body_of(CONTENT | {"created": True}),
        body_of(CONTENT | {"model": None}),
        body_of(CONTENT | {"is_incomplete": 1}),
        body_of(CONTENT | {"expires_at": 1.5}),
        body_of(CONTENT | {"metadata": {}}),
        body_of({name: value for name, value in CONTENT.items() if name != "created"}),
        body_of(CONTENT | {"id": "chatcmpl-another"}),
        body_of(CONTENT | {"tenant": "another"}),
        body_of(CONTENT | {"kind": "text"}),
    ],
)
def test_what_is_no_body_is_named(body: bytes) -> None:
    message = f"^completion {COMPLETION.id} in the drawer is damaged: the body can't be read: "
    with pytest.raises(DamagedCompletionError, match=message):
        decode(body, {}, PLACE, "the drawer")


def test_bodies_of_newer_releases_are_refused() -> None:
    with pytest.raises(
        DamagedCompletionError, match="it has version 2, this release reads version 1"
    ):
        decode(body_of({"version": 2, "text": "new"}), {}, PLACE, "here")


FIRST_VERSION = """
H4sIAAAAAAAAA62SwW6DMAyGXwXlzKqkhbbwFL1PFQrBtFZDwuIwdap49zktq3rYZdK4+efH/vybm/iEQOidqFUusBO1MGcd
zTDaN6mqQvXramekNFruQZet0UVljNqLXFzQ/di5iuC0i1xbPYxcmwA6AhvUblNu99VWylwMvgPLnnZCG9GxLcDHBMTf3X55
SdEHEHUME3ABqVtqAkT6BCTq95sI3rJDTAQhDfWOORLFIWgkyKSYj3OaQqN3BGnMn3Y0Z49mGcXrwvVO0KNDOje8IaXgEmda
2frTGHzLbjdZ+wRNQxdMTYQUU06vrDJDynTGXSFz09BCWGX/rYl5PuYc08LDnMMYm+gv4JhXqcTDeUDkX+Epbwq+q4/aPpWi
nDnOiAO6Ez0aQY/WNgS8T8eSXEm1LnPRsdDBq74rJT9qzh/XWkK6wFeTTvKokBp0CwmD9toSnx6uI/IJG/7R7r75GwV/8Zm2
AgAA
"""
