"""Which ids a page may have."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.storage.id_range import id_range, successor
from shared.storage.types import CompletionQuery, id_time, new_id
from tests.storage.completions import sample_id
from tests.sweeps import examples


def test_new_ids_are_in_the_range_of_all() -> None:
    start, end = id_range(CompletionQuery(tenant="lamp", kind="chat"))

    assert start < new_id("chatcmpl") < end


def test_a_successor_is_the_next_of_all_strings() -> None:
    assert sample_id(1) < successor(sample_id(1)) < sample_id(1) + "\1" < sample_id(2)


@settings(max_examples=examples(200), derandomize=True, database=None)
@given(milliseconds=st.integers(1, 2**42))
def test_the_time_of_an_id_is_its_exact_bound(milliseconds: int) -> None:
    made_then = f"chatcmpl-{milliseconds:012x}{0:016x}"
    made_before = f"chatcmpl-{milliseconds - 1:012x}{2**64 - 1:016x}"

    start, end = id_range(
        CompletionQuery(
            tenant="lamp", kind="chat", since=id_time(made_then), until=id_time(made_then)
        )
    )

    assert start == end
    assert made_before < start <= made_then
