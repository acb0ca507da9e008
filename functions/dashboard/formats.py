"""Formats of what pages show: texts of others made safe to look at, times, numbers, money."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from markupsafe import Markup, escape

MAX_SHOWN = 20_000
"""Characters of one text that a page shows."""

HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\ud800-\udfff]"
)
"""Controls, and what reorders or hides text: nothing that writing in any script needs within a
word (joiners are left alone)."""


def visible(text: object) -> Markup:
    """``text`` escaped, isolated in direction, with signs for what would be invisible.

    Control characters get Unicode's pictures of them, others their numbers.
    """
    shown = HIDDEN.sub(_sign, str(escape("" if text is None else str(text))))
    return Markup(f"<bdi>{shown}</bdi>")


def plain(text: object) -> str:
    """As `visible`, for where there may be no markup, such as options of a field."""
    return HIDDEN.sub(lambda match: _sign_text(match[0]), str(text))


def clipped(text: object, limit: int = MAX_SHOWN) -> str:
    """The beginning of a text, at most ``limit`` characters."""
    whole = "" if text is None else str(text)
    return whole if len(whole) <= limit else f"{whole[: limit - 1]}…"


def one_line(text: object, limit: int = 120) -> str:
    """The first words of a text, on one line."""
    # Most of a long text is not looked at.
    return clipped(" ".join(str("" if text is None else text)[: 8 * limit].split()), limit)


def when(seconds: float) -> str:
    """A time in UTC, to the second."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return str(seconds)


def machine_time(seconds: float) -> str:
    """A time as the attribute ``datetime`` of HTML has it."""
    return f"{when(seconds).replace(' ', 'T')}Z"


def tojson_text(value: object) -> str:
    """A value as JSON on one line."""
    text = orjson.dumps(value, default=str).decode("utf-8", "replace")
    return text[1:-1] if isinstance(value, str) else text


def count(number: float | None) -> str:
    """A number with its thousands apart."""
    return "" if number is None else f"{number:,}"


def duration(seconds: float | None) -> str:
    """A duration in the unit that suits it."""
    if seconds is None:
        return ""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def dollars(amount: float | None) -> str:
    """An amount of dollars: to the cent, and below a dollar to the second digit that counts."""
    if amount is None:
        return ""
    if amount == 0 or abs(amount) >= 1:
        return f"${amount:,.2f}"
    n_digits = min(max(1 - math.floor(math.log10(abs(amount))), 2), 10)
    return f"${amount:.{n_digits}f}"


def _sign(match: re.Match[str]) -> str:
    character = match[0]
    name = escape(unicodedata.name(character, "control character").lower())
    return f'<span class="hidden-character" title="{name}">{_sign_text(character)}</span>'


def _sign_text(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else f"U+{code:04X}"


FILTERS: Mapping[str, Callable[..., Any]] = {
    "visible": visible,
    "plain": plain,
    "clipped": clipped,
    "one_line": one_line,
    "tojson_text": tojson_text,
    "when": when,
    "machine_time": machine_time,
    "count": count,
    "duration": duration,
    "dollars": dollars,
}
