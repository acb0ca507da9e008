"""Bounded filters and tests of templates, which could make much of little.

What has no use in chat templates and no simple bound is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sized
from functools import wraps
from typing import Any, NoReturn

import jinja2
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS
from jinja2.runtime import Context
from jinja2.tests import TESTS

from shared.chat.jinja.budget import SMALL, Budget, check_whole, current
from shared.chat.jinja.operations import (
    ITEM,
    LINE_ENDS,
    REFERENCE,
    before_lines,
    before_percent,
    before_replace,
    before_width,
    compared,
    copied,
    text_of,
)

_MAX_DIGITS = 4300
_MAX_PRECISION = 300


def _stepped(items: Iterator[Any], budget: Budget) -> Iterator[Any]:
    for item in items:
        budget.step()
        yield item


def _before_indent(text: Any, width: Any = 4, *_: Any, **__: Any) -> None:
    text = str(text_of(text))
    before_lines(text)
    size = width if isinstance(width, int) else len(width)
    current().take(max(size, 0) * (1 + sum(map(text.count, LINE_ENDS))))


def _before_filter_replace(text: Any, old: Any, new: Any, count: Any = None) -> None:
    before_replace(str(text_of(text)), str(text_of(old)), str(text_of(new)), count or -1)


def _before_filter_width(text: Any, width: Any = 80) -> None:
    text_of(text)
    before_width(text, width)


def _before_filter_format(form: Any, *args: Any, **kwargs: Any) -> None:
    before_percent(str(text_of(form)), kwargs or args)


def _before_groups(_value: Any, count: Any, *_: Any, **__: Any) -> None:
    if isinstance(count, int):
        current().take(ITEM * max(count, 0))


def _before_int(value: Any, *_: Any, **__: Any) -> None:
    if isinstance(value, (str, bytes)) and len(value) > _MAX_DIGITS:
        raise jinja2.TemplateRuntimeError("a number gets too large")


def _before_round(_value: Any, precision: Any = 0, *_: Any, **__: Any) -> None:
    if isinstance(precision, int) and abs(precision) > _MAX_PRECISION:
        raise jinja2.TemplateRuntimeError("a number gets too large")


def _before_pieces(value: Any, *_: Any, **__: Any) -> None:
    text_of(value)
    current().copy(ITEM * len(value) if isinstance(value, Sized) and len(value) > SMALL else 0)


def _before_list(value: Any, *_: Any, **__: Any) -> None:
    if isinstance(value, Sized) and len(value) > SMALL:
        current().copy(REFERENCE * len(value))


def _before_text(value: Any, *_: Any, **__: Any) -> None:
    text_of(value)


def _before_comparisons(value: Any, *_: Any, **__: Any) -> None:
    compared(value)


_BEFORE_FILTERS: dict[str, Callable[..., None]] = {
    "indent": _before_indent,
    "replace": _before_filter_replace,
    "center": _before_filter_width,
    "format": _before_filter_format,
    "int": _before_int,
    "round": _before_round,
    **dict.fromkeys(("batch", "slice"), _before_groups),
    **dict.fromkeys(("title", "wordcount"), _before_pieces),
    **dict.fromkeys(("list", "reverse"), _before_list),
    **dict.fromkeys(
        ("string", "trim", "lower", "upper", "capitalize", "escape", "e", "forceescape", "safe"),
        _before_text,
    ),
    **dict.fromkeys(("truncate", "urlencode"), _before_text),
    **dict.fromkeys(("sort", "unique", "min", "max", "groupby", "dictsort"), _before_comparisons),
}
_COMPARISONS = (
    *("in", "==", "eq", "equalto", "!=", "ne", ">", "gt", "greaterthan"),
    *("ge", ">=", "<", "lt", "lessthan", "<=", "le"),
    *("lower", "upper"),  # which write the value
)
_REFUSED_FILTERS = ("pprint", "striptags", "urlize", "wordwrap", "xmlattr")


_PARTS = {"context": None, "eval_context": "eval_ctx", "environment": "environment"}
"""What filters ask for, as the context calls it."""
_HARMLESS_FILTERS = [
    "length",
    "count",
    "default",
    "d",
    "first",
    "last",
    "abs",
    "float",
    "attr",
    "items",
]


def _bounded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    before = _BEFORE_FILTERS.get(name)
    passed = getattr(function, "jinja_pass_arg", None)
    part = None if passed is None else _PARTS[passed.name]

    def counted(result: Any) -> Any:
        return _stepped(result, current()) if isinstance(result, Iterator) else copied(result)

    @wraps(function)
    def plain(_: Context, *args: Any, **kwargs: Any) -> Any:
        if before is not None:
            before(*args, **kwargs)
        return counted(function(*args, **kwargs))

    @wraps(function)
    def passing(context: Context, *args: Any, **kwargs: Any) -> Any:
        if before is not None:
            before(*args, **kwargs)
        first = context if part is None else getattr(context, part)
        return counted(function(first, *args, **kwargs))

    # Given the context, it also isn't run once for all when Jinja compiles.
    return jinja2.pass_context(plain if passed is None else passing)


def _refused(name: str) -> Callable[..., NoReturn]:
    @jinja2.pass_context
    def filter(*_: Any, **__: Any) -> NoReturn:
        raise SecurityError(f"chat templates can't use the filter {name!r}")

    return filter


@jinja2.pass_context
def _joined(context: Context, value: Any, d: Any = "", attribute: Any = None) -> Any:
    """``join``: each item is written as a whole."""
    items = list(value)
    current().copy(sum(map(check_whole, items)) + len(str(d)) * len(items))
    return FILTERS["join"](context.eval_ctx, items, d, attribute)


@jinja2.pass_context
def _sum(context: Context, iterable: Any, attribute: Any = None, start: Any = 0) -> Any:
    """``sum``: additions, which join lists."""
    items = (
        iterable
        if attribute is None
        else context.environment.call_filter(
            "map", iterable, kwargs={"attribute": attribute}, context=context
        )
    )
    for item in items:
        current().step()
        start = copied(start + item)
    return start


def bounded_filters(others: Mapping[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """Jinja's filters, with ``others`` in place of some, with bounds."""
    return {
        **{name: _bounded(name, function) for name, function in {**FILTERS, **others}.items()},
        **{name: FILTERS[name] for name in _HARMLESS_FILTERS},
        **{name: _refused(name) for name in _REFUSED_FILTERS},
        "join": _joined,
        "sum": _sum,
    }


def bounded_tests() -> dict[str, Callable[..., bool]]:
    """Jinja's tests that compare, with bounds."""

    def bounded(function: Any) -> Callable[..., bool]:
        def test(value: Any, *args: Any) -> bool:
            return bool(function(compared(value), *args))

        return test

    return {name: bounded(TESTS[name]) for name in _COMPARISONS}
