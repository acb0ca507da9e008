"""Batch shapes: what is decoded together, and what that makes batches cost."""

from __future__ import annotations

from shared.engine.speculation.batch_shape import BatchShape, seconds_in_pieces


def affine(n_rows: int) -> float:
    """Ten for the weights, and one for each row."""
    return 10.0 + n_rows


def test_sequences_of_a_pool_are_one_group() -> None:
    shape = BatchShape.of([7, 0, 3], is_unified=True, pads=True)
    assert shape == BatchShape((3,))
    assert shape.seconds(affine, 5) == 15


def test_shares_are_grouped_by_consecutive_ids() -> None:
    shape = BatchShape.of([7, 0, 3, 1, 8], is_unified=False)
    assert shape.groups == (2, 1, 2)
    assert shape.n_sequences == 5
    assert shape.seconds(affine, 5) == 3 * 10 + 5
    assert shape.seconds(affine, 10) == shape.seconds(affine, 6) == 3 * 10 + 10


def test_rows_are_bounded_by_those_of_the_largest_group() -> None:
    assert BatchShape((16,)).n_rows(40) == 32
    assert BatchShape((1, 4, 1)).n_rows(40) == 60
    assert BatchShape((1, 1)).n_rows(17) == 34
    assert BatchShape((40, 23)).n_rows(32) == 126


def test_a_plain_step_may_be_padded_where_that_is_faster() -> None:
    near = BatchShape.of([0, 2, 4], is_unified=False, pads=True)
    assert near.seconds(affine, 3) == affine(5)
    assert near.seconds(affine, 6) == 3 * affine(2)
    distant = BatchShape.of([0, 99], is_unified=False, pads=True)
    assert distant.seconds(affine, 2) == 2 * affine(1)


def test_tokens_that_some_have_more_of_are_pieces_of_their_own() -> None:
    assert seconds_in_pieces(affine, {0: 2, 1: 2, 2: 2}) == affine(6)
    assert seconds_in_pieces(affine, {0: 1, 1: 3, 2: 1}) == affine(3) + affine(2)
    assert seconds_in_pieces(affine, {0: 3, 1: 1, 2: 3}) == affine(3) + 2 * affine(2)
