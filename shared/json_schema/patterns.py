"""Regular expressions of schemas, in JavaScript's dialect, as llguidance's takes them.

JSON Schema's ``pattern`` is JavaScript's by the standard, and Python's with pydantic. Rust's, which
llguidance reads, differs in what has to be escaped, and has no look-around.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_LOOKAHEAD_FREE = {
    # zod's email
    r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]"
    r"@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$": (
        r"^([A-Za-z0-9_'+\-]+\.)*[A-Za-z0-9_'+\-]*[A-Za-z0-9_+\-]"
        r"@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$"
    ),
    # zod's duration
    r"^P(?:(\d+W)|(?!.*W)(?=\d|T\d)(\d+Y)?(\d+M)?(\d+D)?"
    r"(T(?=\d)(\d+H)?(\d+M)?(\d+([.,]\d+)?S)?)?)$": (
        r"^P(?:\d+W|(?:\d+Y(?:\d+M)?(?:\d+D)?|\d+M(?:\d+D)?|\d+D)(?:T{time})?|T{time})$".replace(
            "{time}",
            r"(?:\d+H(?:\d+M)?(?:\d+(?:[.,]\d+)?S)?|\d+M(?:\d+(?:[.,]\d+)?S)?|\d+(?:[.,]\d+)?S)",
        )
    ),
}
"""Patterns of libraries whose look-ahead another pattern does without, both for the same texts."""

_ATOM = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.", re.DOTALL)
"""A character, escaped or not, or a class of them."""
_DECIMAL = re.compile(
    r"\^\(\?!\^\[-\+\.\]\*\$\)\[\+-\]\?0\*"
    r"(?:\\d\*\\\.\?\\d(?:\*|\{0,(?P<places>\d+)\}0\*)\$"
    r"|\(\?:\\d\{0,\d+\}\|\(\?=\[\\d\.\]\{1,(?P<length>\d+)\}0\*\$\)"
    r"(?:\\d\*\\\.\\d\*|\\d\{0,(?P<most_whole>\d+)\}\\\.\\d\{0,(?P<most_places>\d+)\})0\*\$\))"
)
"""Pydantic's pattern of a Decimal, which may have limits for its digits, its places or both."""
_MOST_DIGITS = 64

_QUANTIFIER = re.compile(r"\{\d+(?:,\d*)?\}")
_LOOK_AROUND = re.compile(r"\(\?<?[=!]")
_ESCAPE = re.compile(r"\\(?:[pPux]\{[^}]{0,64}\}|c[A-Za-z]|0(?![0-9])|.)", re.DOTALL)
_WORD = r"\p{Alphabetic}\p{M}\p{Nd}\p{Pc}"
_RESPELLED = {
    **{r"\A": "^", r"\Z": "$", r"\z": "$", r"\<": "<", r"\>": ">", r"\0": r"\x00"},
    **{r"\W": f"[^{_WORD}]", r"\D": r"\P{Nd}"},
}
"""Escapes that mean something else in Rust, or nothing."""


class PatternError(ValueError):
    """The pattern can't be followed; the text says why."""


def translated(pattern: str) -> list[str]:
    """Patterns in Rust's dialect of which a text has to match each; raises `PatternError`.

    Look-ahead at the very beginning becomes a pattern of its own.
    """
    known = _LOOKAHEAD_FREE.get(pattern.replace("a-zA-Z", "A-Za-z")) or _decimal(pattern) or pattern
    heads: list[str] = []
    at = 1
    while known.startswith("^") and known.startswith("(?=", at):
        end = _group_end(known, at)
        heads.append(f"^(?:{known[at + 3 : end]})")
        at = end + 1
    rest = "^" + known[at:] if heads else known
    if heads and _has_alternatives(rest):
        raise PatternError("look-ahead is not supported beside alternatives")
    return [_respelled(text) for text in (*heads, rest)]


def why_no_part(pattern: str) -> str | None:
    """What keeps ``pattern`` from being put in a group: that would change what it says.

    None for what may be: all that is a regular expression by itself.
    """
    depth = 0
    for atom in _ATOM.findall(pattern):
        depth += (atom == "(") - (atom == ")")
        if depth < 0:
            return "unopened group"
        if atom == "\\":
            return "it ends with a backslash that escapes nothing"
    return "unclosed group" if depth else None


def _decimal(pattern: str) -> str | None:
    """The numbers that pydantic's pattern of a Decimal is meant for, without look-ahead."""
    parts = _DECIMAL.fullmatch(pattern)
    if parts is None:
        return None
    whole, places = r"\d+", "*"
    if parts["length"] is not None:
        digits = int(parts["length"]) - 1
        if digits > _MOST_DIGITS:
            return None
        if parts["most_whole"] is None:
            fractions = [rf"\d{{0,{digits - n}}}\.\d{{{n}}}" for n in range(1, digits + 1)]
            return "^[+-]?(?:" + "|".join([rf"\d{{1,{digits}}}", *fractions]) + ")$"
        most_whole, most_places = int(parts["most_whole"]), int(parts["most_places"])
        whole = rf"\d{{1,{most_whole}}}" if most_whole else "0"
        places = f"{{0,{min(most_places, digits)}}}"
    elif parts["places"] is not None:
        places = f"{{0,{parts['places']}}}"
    if places == "{0,0}":
        return rf"^[+-]?{whole}$"
    some = places.replace("*", "+").replace("{0,", "{1,")
    return rf"^[+-]?(?:{whole}(?:\.\d{places})?|\.\d{some})$"


def _respelled(pattern: str) -> str:
    r"""``pattern`` in Rust's spelling: escaped where that differs, the same texts or fewer.

    Where dialects differ, only texts are left that match in each: ``\W`` is no letter of any
    script, as in Python, while ``\w`` is one of ASCII's, as in JavaScript.
    """
    result: list[str] = []
    at = 0
    class_start: int | None = None
    is_negated = False
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            escape = _ESCAPE.match(pattern, at)
            if escape is None:
                raise PatternError("it ends with a backslash that escapes nothing")
            result.append(_respelled_escape(escape[0], is_negated=is_negated))
            at = escape.end()
            continue
        if class_start is not None:
            if char == "]" and at > class_start:
                class_start, is_negated = None, False
            result.append("\\" + char if char in "[&~" else char)
        elif char == "[":
            is_negated = pattern.startswith("[^", at)
            class_start = at + 1 + is_negated
            result.append("[^" if is_negated else "[")
            at += is_negated
        elif _LOOK_AROUND.match(pattern, at):
            raise PatternError("look-ahead and look-behind are not supported")
        elif char == "{" and not _QUANTIFIER.match(pattern, at):
            if pattern.startswith("{,", at):
                raise PatternError("dialects differ in what {,n} means: write {0,n}")
            result.append(r"\{")
        else:
            result.append(char)
        at += 1
    return "".join(result)


def _respelled_escape(escape: str, *, is_negated: bool) -> str:
    if escape.startswith(r"\c"):
        return f"\\x{ord(escape[2]) % 32:02x}"
    if is_negated:
        return {r"\w": _WORD, r"\d": r"\p{Nd}"}.get(escape, escape)
    return _RESPELLED.get(escape, escape)


def _group_end(pattern: str, start: int) -> int:
    """Where the group that opens at ``start`` closes; raises `PatternError`."""
    depth = 0
    for at, char in _outside_classes(pattern, start):
        depth += (char == "(") - (char == ")")
        if depth == 0:
            return at
    raise PatternError("unclosed group")


def _has_alternatives(pattern: str) -> bool:
    """Whether there is a ``|`` outside of all groups."""
    depth = 0
    for _, char in _outside_classes(pattern, 0):
        depth += (char == "(") - (char == ")")
        if char == "|" and depth == 0:
            return True
    return False


def _outside_classes(pattern: str, start: int) -> Iterator[tuple[int, str]]:
    """The characters that are neither escaped nor in brackets, with their positions."""
    in_class = is_escaped = False
    for at in range(start, len(pattern)):
        char = pattern[at]
        if is_escaped or char == "\\":
            is_escaped = not is_escaped
        elif in_class:
            in_class = char != "]"
        elif char == "[":
            in_class = True
        else:
            yield at, char
