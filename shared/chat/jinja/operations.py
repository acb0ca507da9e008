"""Bounded operators and methods of templates, which could make much of little.

Each is counted by what it would make, before it is done. What has no use in chat templates and no
simple bound is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from functools import lru_cache
from string import Formatter
from typing import Any

import jinja2
from jinja2.exceptions import SecurityError

from shared.chat.jinja.budget import MAX_INTEGER_BITS, SMALL, check_whole, current

_LONG_WIDTH = re.compile(r"[%)][-+ #0]*(?:\*|\d{4,}|\d{0,3}\.(?:\*|\d{4,}))")
_NUMBER = re.compile(r"\d{1,3}")
LINE_ENDS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
REFERENCE = 4
"""Characters that a list's item counts as which is there already."""
ITEM = 16
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
        current().copy(len(value) * (1 if isinstance(value, (str, bytes)) else REFERENCE))
    return value


def before_operation(operator: str, left: Any, right: Any) -> None:
    """Count what a binary operator would make."""
    if operator == "*":
        _before_product(left, right)
    elif operator == "**":
        if isinstance(left, int) and isinstance(right, int):
            _check_bits(left.bit_length() * max(right, 0))
    elif isinstance(left, (str, bytes)):  # %
        before_percent(left, right)


def _before_product(left: Any, right: Any) -> None:
    for repeated, times in ((left, right), (right, left)):
        if isinstance(repeated, Sized) and isinstance(times, int):
            current().take(len(repeated) * max(times, 0))
    if isinstance(left, int) and isinstance(right, int):
        _check_bits(left.bit_length() + right.bit_length())


def _check_bits(count: int) -> None:
    if count > MAX_INTEGER_BITS:
        raise jinja2.TemplateRuntimeError("a number gets too large")


def before_percent(form: str | bytes, values: Any) -> None:
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


def before_width(_text: Any, width: Any = 0, *_: Any) -> None:
    if isinstance(width, int):
        current().take(max(width, 0))


def before_replace(text: Any, old: Any, new: Any, count: Any = -1) -> None:
    if isinstance(text, str) and isinstance(old, str) and isinstance(new, str):
        times = text.count(old)
        if isinstance(count, int) and 0 <= count < times:
            times = count
        current().take(max(times * (len(new) - len(old)), 0))


def _before_split(text: Any, separator: Any = None, *_: Any, **__: Any) -> None:
    if len(text) > SMALL:
        parts = text.count(separator) if separator else len(text) // 2
        current().copy(ITEM * parts)


def before_lines(text: Any, *_: Any, **__: Any) -> None:
    if len(text) > SMALL and isinstance(text, str):
        current().copy(ITEM * sum(map(text.count, LINE_ENDS)))


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
    **dict.fromkeys(("center", "ljust", "rjust", "zfill"), before_width),
    **dict.fromkeys(("split", "rsplit"), _before_split),
    **dict.fromkeys(("encode", "decode"), _before_coding),
    "replace": before_replace,
    "splitlines": before_lines,
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
