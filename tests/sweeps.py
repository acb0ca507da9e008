"""Exhaustive tests: which cases of parametrized unit tests ``make test-unit`` leaves to ``make test``."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from zlib import crc32

import pytest
from hypothesis import settings

_FULL = 100
"""Examples in hypothesis's own default, which the tests' numbers are relative to."""
_LAYOUTS = "make_engine"
"""A fixture of two layouts of the KV cache, which tests take turns at."""


def examples(number: int, *, at_least: int = 1) -> int:
    """``number`` repetitions in ``make test``, a tenth of them in ``make test-unit``.

    For hypothesis's examples, and for loops over seeds.
    """
    return max(at_least, number * settings().max_examples // _FULL)


def mark_exhaustive(tests: Sequence[pytest.Item]) -> None:
    """Mark the cases that repeat values of parameters that other cases have as ``exhaustive``.

    Each value of each parameter is in a case without the marker. ``@pytest.mark.sweep(n)`` leaves
    no more than ``n`` cases without it, evenly spread: for sweeps whose cases go the same way
    through the code. Layouts of the KV cache alternate from test to test.
    """
    for name, group in groupby(tests, key=lambda test: test.nodeid.partition("[")[0]):
        cases = list(group)
        kept = _each_value_once(cases, first=crc32(name.encode()))
        sweep = cases[0].get_closest_marker("sweep")
        if sweep is not None:
            kept = _spread(kept, *sweep.args)
        for case in set(cases).difference(kept):
            case.add_marker("exhaustive")


def _each_value_once(cases: list[pytest.Item], *, first: int) -> list[pytest.Item]:
    """As few of the cases as have each value of each parameter, or about so few.

    Layouts may be left out: a case has the one whose turn it is, beginning with number ``first``.
    """
    values = {case: _values(case) for case in cases}
    layouts = sorted({_layout(case) for case in cases} - {0})
    if not layouts and all(len(own) <= 1 for own in values.values()):
        return cases
    missing = set[object]().union(*values.values())
    kept: list[pytest.Item] = []
    while missing or not kept:
        layout = layouts[(first + len(kept)) % len(layouts)] if layouts else 0
        candidates = [case for case in cases if _layout(case) == layout]
        best = max(candidates, key=lambda case: len(values[case] & missing))
        kept.append(best)
        missing -= values[best]
    return kept


def _params(case: pytest.Item) -> dict[str, object]:
    if isinstance(case, pytest.Function) and hasattr(case, "callspec"):
        return dict(case.callspec.params)
    return {}


def _layout(case: pytest.Item) -> int:
    """The number of a case's layout, 0 where it has none."""
    params = _params(case)
    return 1 + bool(params[_LAYOUTS]) if _LAYOUTS in params else 0


def _values(case: pytest.Item) -> set[object]:
    """A case's values of parameters; those that one decorator lists together are one."""
    params = _params(case)
    listed = [_names(*mark.args, **mark.kwargs) for mark in case.iter_markers("parametrize")]
    fixtures = params.keys() - {name for names in listed for name in names} - {_LAYOUTS}
    groups = [*listed, *((name,) for name in fixtures)]
    return {(names, tuple(id(params[name]) for name in names)) for names in groups}


def _names(argnames: str | Sequence[str], *_: object, **__: object) -> tuple[str, ...]:
    if isinstance(argnames, str):
        return tuple(name.strip() for name in argnames.split(","))
    return tuple(argnames)


def _spread(cases: list[pytest.Item], number: int) -> list[pytest.Item]:
    """So many of the cases, the first one among them."""
    step = max(len(cases) / number, 1)
    return [cases[int(step * i)] for i in range(min(number, len(cases)))]
