"""The ranges of llama.cpp's sampling fields."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from shared.protocol.fields import SharedFields

ENDS: list[tuple[str, object]] = [
    ("top_k", -1),
    ("top_k", 2**31 - 1),
    ("min_p", 0),
    ("min_p", 1),
    ("typical_p", 1),
    ("repeat_penalty", 0.01),
    ("repetition_penalty", 100),
    ("repeat_last_n", -1),
    ("dry_multiplier", 0),
    ("dry_multiplier", 1000),
    ("dry_base", 1),
    ("dry_allowed_length", 0),
    ("dry_penalty_last_n", -1),
    ("dry_penalty_last_n", 0),
    ("dry_sequence_breakers", []),
    ("dry_sequence_breakers", ["x"] * 16),
    ("xtc_probability", 0),
    ("xtc_probability", 1),
    ("xtc_threshold", 0),
    ("xtc_threshold", 1),
    ("mirostat", 0),
    ("mirostat", 2),
    ("mirostat_tau", 0),
    ("mirostat_eta", 0),
]

BEYOND: list[tuple[str, object]] = [
    ("top_k", -2),
    ("top_k", 1.5),
    ("min_p", -0.1),
    ("min_p", 1.1),
    ("typical_p", 0),
    ("repeat_penalty", 0),
    ("repetition_penalty", -1),
    ("repeat_last_n", -2),
    ("dry_multiplier", -0.1),
    ("dry_multiplier", 1e300),
    ("dry_base", 0.9),
    ("dry_allowed_length", -1),
    ("dry_penalty_last_n", -2),
    ("dry_sequence_breakers", ["x"] * 17),
    ("dry_sequence_breakers", [""]),
    ("dry_sequence_breakers", ["x", 5]),
    ("dry_sequence_breakers", "x"),
    ("xtc_probability", -0.1),
    ("xtc_probability", 1.1),
    ("xtc_threshold", -0.1),
    ("xtc_threshold", 1.1),
    ("mirostat", 3),
    ("mirostat", -1),
    ("mirostat", True),
    ("mirostat_tau", -1),
    ("mirostat_tau", 1e300),
    ("mirostat_eta", -0.1),
    ("mirostat_eta", "fast"),
]


@pytest.mark.parametrize(("field", "value"), ENDS)
def test_values_at_the_ends_of_their_ranges_are_taken(field: str, value: object) -> None:
    parsed = SharedFields.model_validate({field: value})
    assert getattr(parsed, field) == value


@pytest.mark.parametrize(("field", "value"), BEYOND)
def test_values_beyond_are_refused(field: str, value: object) -> None:
    with pytest.raises(ValidationError) as refusal:
        SharedFields.model_validate({field: value})
    assert {error["loc"][0] for error in refusal.value.errors()} == {field}
