"""Completions with common and rare metadata, and queries whose cost is of interest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shared.storage.types import StoredCompletion
from tests.storage.completions import sample, sample_id

TENANT = "tenant"


def completions(count: int) -> Iterator[StoredCompletion]:
    """What a tenant might have: a project's runs, one after the other, each with several tasks of all sorts."""
    for number in range(count):
        run = number * 20 // count
        yield sample(
            number,
            tenant=TENANT,
            model="large" if number % 4 == 0 else "small",
            metadata={
                "project": "atlas",
                "run": str(run),
                "split": "test" if number % 5 == 0 else "train",
                "grade": "poor" if number % 5 == 1 else "fine",
                "task": str(number * 7919 % 11),
                "half": "first" if number < count // 2 else "second",
                "case": str(number % (count // 40)),
            },
        )


def queries(count: int) -> dict[str, dict[str, Any]]:
    """Queries of ``count`` completions, by what they are about."""
    middle = sample_id(count // 2)
    one = {"project": "atlas"}
    three = {"project": "atlas", "split": "train", "half": "second"}
    return {
        "all": {},
        "all, from the middle": {"after": middle},
        "all, backwards": {"order": "desc"},
        "all, 100 on a page": {"limit": 100},
        "a pair that all have": {"metadata": one},
        "the same, backwards from the middle": {"metadata": one, "after": middle, "order": "desc"},
        "a pair that 40 have": {"metadata": {"case": "7"}},
        "a model that 1 in 4 has": {"model": "large"},
        "three pairs that many have": {"metadata": three},
        "the same, 100 on a page": {"metadata": three, "limit": 100},
        "the same and a model": {"metadata": three, "model": "small"},
        "three pairs, one of which 40 have": {"metadata": {**one, "split": "train", "case": "7"}},
        "a pair that nothing has": {"metadata": {"project": "apollo"}},
        "three pairs, one of which nothing has": {"metadata": {**three, "project": "apollo"}},
        "two pairs, never at the same time": {"metadata": {"half": "first", "run": "15"}},
    }


def mixed_queries() -> dict[str, dict[str, Any]]:
    """Queries by pairs that many have, all the time, but few both: they cost what these lists do."""
    return {
        "two pairs, 1 in 5 and 1 in 11, 1 in 55 both": {"metadata": {"split": "test", "task": "3"}},
        "the same and a model, 1 in 220 all": {
            "metadata": {"split": "test", "task": "3"},
            "model": "large",
        },
        "two pairs, 1 in 5 each, none both": {"metadata": {"split": "test", "grade": "poor"}},
    }
