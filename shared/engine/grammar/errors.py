"""Grammar errors, llguidance's own among them, in words that callers know."""

from __future__ import annotations

import re

from llguidance import LLMatcher

_MEANINGS = {
    "panic": "it is too large",
    "NoExtension": "there is no text that it allows",
    "Current row has": "it leaves too many ways to go on at once",
    "Too many items": "it leaves too many ways to go on at once",
    "too many expressions": "its regular expressions are too large",
    "lexer precomputation failed": "its regular expressions are too large",
    "fuel exhausted": "its regular expressions are too large",
    "maximum number of nested": "its regular expressions are nested too deeply",
}
"""What some of llguidance's errors come down to for who has written the grammar."""
_BASE_URI = "json-schema:///"
"""What llguidance calls a schema by that has no ``$id``."""
_WORDINGS = (
    (re.compile(r"^failed to compile JSON schema: "), ""),  # of one within a grammar
    (
        re.compile(r"Resource '(.*)' is not present in a registry.*? fetch resources"),
        r"the reference '\1' leads out of the schema",
    ),
    (
        re.compile(r"circular references with sibling keys are not supported: (\S*)"),
        r"beside a '$ref' to what it is a part of, \1, there can't be other keywords",
    ),
    (
        re.compile(r'^unknown special token: "(.*?)"; following special tokens are available: ⟦.*'),
        r"there is no control token \1",
    ),
    (re.compile(r"^Token range end too large: (\d+)"), r"there is no token with the id \1"),
    (re.compile(r"^lexer error$"), "what stands there can't be read"),
    (re.compile(r' \(at ".*" \(.*\)\)$'), ""),
)
"""Others of its errors, in words that callers know."""
_PLACE = re.compile(r"(?:at )?(?P<line>\d+)\((?P<column>\d+)\): ")
_QUOTATION = re.compile(r"\n *\d+ \| .*", re.DOTALL)
"""The lines of the grammar that llguidance repeats behind its errors, with a caret below one."""
_REGEX_ERROR = re.compile(
    r"regex parse error:\n(?: {4}(?P<pattern>[^\n]*)\n)?.*?\nerror: (?P<reason>.*)", re.DOTALL
)
_LOOK_AROUND = re.compile(
    r"lookarounds not supported yet; \w+ in regex /(?P<pattern>.*)/", re.DOTALL
)
_LONGEST_ERROR = 500
"""Characters; some of llguidance's errors repeat much of the grammar."""
_LONGEST_PATTERN = 200


class ConstraintError(ValueError):
    """The grammar is invalid or not supported; the text says what.

    - ``reason``: without the regular expression that it is about.
    - ``place``: ``line 1, column 8`` of the grammar that was compiled, which may be one that was
      made of the caller's; empty where that is not known.
    """

    def __init__(self, reason: str, *, pattern: str = "", place: str = "") -> None:
        if len(pattern) > _LONGEST_PATTERN:
            pattern = pattern[:_LONGEST_PATTERN] + "..."
        super().__init__(f"in the pattern {pattern}: {reason}" if pattern else reason)
        self.reason = reason
        self.place = place


def error_of(matcher: LLMatcher) -> ConstraintError:
    """Why a matcher fails, in a line."""
    message = matcher.get_error()
    for sign, meaning in _MEANINGS.items():
        if sign in message:
            return ConstraintError(meaning)
    message = _QUOTATION.sub("", message.removesuffix("<non-verbose/>")).replace(_BASE_URI, "")
    place = ""
    if (found := _PLACE.match(message)) is not None:
        place = f"line {found['line']}, column {found['column']}"
        message = message[found.end() :]
    if (found := _LOOK_AROUND.search(message)) is not None:
        reason = "anchors in the middle and word boundaries are not supported"
        return ConstraintError(reason, pattern=found["pattern"], place=place)
    if (found := _REGEX_ERROR.search(message)) is not None:
        reason = " ".join(found["reason"].split())
        return ConstraintError(reason, pattern=found["pattern"] or "", place=place)
    message = " ".join(message.split())
    for error, wording in _WORDINGS:
        message = error.sub(wording, message)
    return ConstraintError(message[:_LONGEST_ERROR], place=place)
