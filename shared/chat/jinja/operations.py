"""Bounded operators, methods and filters of templates, which could make much of little.

Each is counted by what it would make, before it is done. What has no use in chat templates and no
simple bound is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from functools import lru_cache, wraps
from string import Formatter
from typing import Any, NoReturn

import jinja2
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS
from jinja2.runtime import Context
from jinja2.tests import TESTS

from shared.chat.budget import MAX_INTEGER_BITS, SMALL, Budget, check_whole, current

_MAX_DIGITS = 4300
_MAX_PRECISION = 300
_LONG_WIDTH = re.compile(r"[%)][-+ #0]*(?:\*|\d{4,}|\d{0,3}\.(?:\*|\d{4,}))")
_NUMBER = re.compile(r"\d{1,3}")
_LINE_ENDS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
_REFERENCE = 4
"""Characters that a list's item counts as which is there already."""
_ITEM = 16
"""Characters that a list's item counts as: some hundred bytes, with the object."""

_CONTAINERS = (list, tuple, dict)


def text_of(value: Any) -> Any:
    """``value`` as it may be written; raises `jinja2.TemplateRuntimeError` if it is too large."""
    if not isinstance(value, (str, int, float)):
        current().copy(check_whole(value))
    return value


def compared(value: Any) -> Any:
    """``value`` as it may be compared, or looked up; raises as `text_of`."""
    if isinstance(value, _CONTAINERS):
        current().copy(check_whole(value))
    return value


def copied(value: Any) -> Any:
    """A value that an operation made, counted."""
    if isinstance(value, (str, bytes, list, tuple)) and len(value) > SMALL:
        current().copy(len(value) * (1 if isinstance(value, (str, bytes)) else _REFERENCE))
    return value


def before_operation(operator: str, left: Any, right: Any) -> None:
    """Count what a binary operator would make."""
    if operator == "*":
        _before_product(left, right)
    elif operator == "**":
        if isinstance(left, int) and isinstance(right, int):
            _check_bits(left.bit_length() * max(right, 0))
    elif isinstance(left, (str, bytes)):  # %
        _before_percent(left, right)


def _before_product(left: Any, right: Any) -> None:
    for repeated, times in ((left, right), (right, left)):
        if isinstance(repeated, Sized) and isinstance(times, int):
            current().take(len(repeated) * max(times, 0))
    if isinstance(left, int) and isinstance(right, int):
        _check_bits(left.bit_length() + right.bit_length())


def _check_bits(count: int) -> None:
    if count > MAX_INTEGER_BITS:
        raise jinja2.TemplateRuntimeError("a number gets too large")


def _before_percent(form: str | bytes, values: Any) -> None:
    text = form.decode("latin-1") if isinstance(form, bytes) else form
    widths, uses = _short_form(text) if len(text) <= SMALL else _form(text)
    if isinstance(values, tuple):  # a mapping's can be used again and again
        uses = 1
    current().take(widths)
    current().copy(len(text) + uses * check_whole(values))


def _form(text: str) -> tuple[int, int]:
    """The widths that a format with ``%`` has, in sum, and the values that it uses."""
    if _LONG_WIDTH.search(text):
        raise jinja2.TemplateRuntimeError("a format has too large a width")
    return sum(map(int, _NUMBER.findall(text))), text.count("%")


_short_form = lru_cache(maxsize=64)(_form)


def before_format(form: str, values: Sequence[Any], named: Mapping[str, Any]) -> None:
    """Count what ``str.format`` would make."""
    count = 0
    for _, field, spec, _ in Formatter().parse(form):
        if "{" in (spec or ""):
            raise jinja2.TemplateRuntimeError("a format's width can't be a variable")
        if re.search(r"\d{4}", spec or ""):
            raise jinja2.TemplateRuntimeError("a format has too large a width")
        current().take(sum(map(int, _NUMBER.findall(spec or ""))))
        count += field is not None
    current().copy(len(form) + count * check_whole([*values, *named.values()]))


# Methods


def _before_width(_text: Any, width: Any = 0, *_: Any) -> None:
    if isinstance(width, int):
        current().take(max(width, 0))


def _before_replace(text: Any, old: Any, new: Any, count: Any = -1) -> None:
    if isinstance(text, str) and isinstance(old, str) and isinstance(new, str):
        times = text.count(old)
        if isinstance(count, int) and 0 <= count < times:
            times = count
        current().take(max(times * (len(new) - len(old)), 0))


def _before_split(text: Any, separator: Any = None, *_: Any, **__: Any) -> None:
    if len(text) > SMALL:
        parts = text.count(separator) if separator else len(text) // 2
        current().copy(_ITEM * parts)


def _before_lines(text: Any, *_: Any, **__: Any) -> None:
    if len(text) > SMALL and isinstance(text, str):
        current().copy(_ITEM * sum(map(text.count, _LINE_ENDS)))


def _before_coding(_text: Any, encoding: Any = "utf-8", *_: Any, **__: Any) -> None:
    if str(encoding).lower().replace("_", "-") not in ("utf-8", "utf8", "ascii", "latin-1"):
        raise jinja2.TemplateRuntimeError(f"{encoding!r} is no encoding for chat templates")


def _nothing(*_: Any, **__: Any) -> None:
    pass


_PLAIN_METHODS = (
    "capitalize casefold count endswith find index isalnum isalpha isascii isdecimal isdigit "
    "isidentifier islower isnumeric isprintable isspace istitle isupper lower lstrip partition "
    "removeprefix removesuffix rfind rindex rpartition rstrip startswith strip swapcase title "
    "upper unescape hex"
)
_TEXT_METHODS: dict[str, Callable[..., None]] = {
    **dict.fromkeys(_PLAIN_METHODS.split(), _nothing),
    **dict.fromkeys(("center", "ljust", "rjust", "zfill"), _before_width),
    **dict.fromkeys(("split", "rsplit"), _before_split),
    **dict.fromkeys(("encode", "decode"), _before_coding),
    "replace": _before_replace,
    "splitlines": _before_lines,
}
"""What is known of the methods of texts; others are refused."""
_NUMBER_METHODS = frozenset(("bit_length", "is_integer", "conjugate", "as_integer_ratio"))


def call_method(owner: Any, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What ``function``, a method of one of Python's own objects, gives."""
    name = function.__name__
    if isinstance(owner, (str, bytes)):
        if name == "join":
            return _join_method(owner, *args)
        if name not in _TEXT_METHODS:
            raise SecurityError(f"chat templates can't use the method {name!r} of texts")
        _TEXT_METHODS[name](owner, *args, **kwargs)
    elif isinstance(owner, type):
        if (owner, name) != (dict, "fromkeys"):
            raise SecurityError(f"chat templates can't use {name!r} of {owner.__name__!r}")
    elif isinstance(owner, (int, float)) and name not in _NUMBER_METHODS:
        raise SecurityError(f"chat templates can't use the method {name!r} of numbers")
    return copied(function(*args, **kwargs))


def _join_method(separator: Any, parts: Iterable[Any]) -> Any:
    items = list(parts)
    lengths = sum(len(item) for item in items if isinstance(item, (str, bytes)))
    current().copy(lengths + len(separator) * len(items))
    return separator.join(items)


# Filters


def _stepped(items: Iterator[Any], budget: Budget) -> Iterator[Any]:
    for item in items:
        budget.step()
        yield item


def _before_indent(text: Any, width: Any = 4, *_: Any, **__: Any) -> None:
    text = str(text_of(text))
    _before_lines(text)
    size = width if isinstance(width, int) else len(width)
    current().take(max(size, 0) * (1 + sum(map(text.count, _LINE_ENDS))))


def _before_filter_replace(text: Any, old: Any, new: Any, count: Any = None) -> None:
    _before_replace(str(text_of(text)), str(text_of(old)), str(text_of(new)), count or -1)


def _before_filter_width(text: Any, width: Any = 80) -> None:
    text_of(text)
    _before_width(text, width)


def _before_filter_format(form: Any, *args: Any, **kwargs: Any) -> None:
    _before_percent(str(text_of(form)), kwargs or args)


def _before_groups(_value: Any, count: Any, *_: Any, **__: Any) -> None:
    if isinstance(count, int):
        current().take(_ITEM * max(count, 0))


def _before_int(value: Any, *_: Any, **__: Any) -> None:
    if isinstance(value, (str, bytes)) and len(value) > _MAX_DIGITS:
        raise jinja2.TemplateRuntimeError("a number gets too large")


def _before_round(_value: Any, precision: Any = 0, *_: Any, **__: Any) -> None:
    if isinstance(precision, int) and abs(precision) > _MAX_PRECISION:
        raise jinja2.TemplateRuntimeError("a number gets too large")


def _before_pieces(value: Any, *_: Any, **__: Any) -> None:
    text_of(value)
    current().copy(_ITEM * len(value) if isinstance(value, Sized) and len(value) > SMALL else 0)


def _before_list(value: Any, *_: Any, **__: Any) -> None:
    if isinstance(value, Sized) and len(value) > SMALL:
        current().copy(_REFERENCE * len(value))


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
