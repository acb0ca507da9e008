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
    (  # of a schema within a grammar, such as a tool's, with the grammar's lines
        re.compile(r"^at \d+\(\d+\): failed to compile JSON schema: (.*?)(?: \d+ \| .*)?$"),
        r"\1",
    ),
    (
        re.compile(r"Resource '(.*)' is not present in a registry.*? fetch resources"),
        r"the reference '\1' leads out of the schema",
    ),
    (
        re.compile(r"circular references with sibling keys are not supported: (\S*)"),
        r"beside a '$ref' to what it is a part of, \1, there can't be other keywords",
    ),
    (
        re.compile(r"lookarounds not supported yet; \w+ in regex /((?:\\.|[^\\/])*)/"),
        r"in the pattern \1: anchors in the middle and word boundaries are not supported",
    ),
)
"""Others of its errors, in words that callers know."""
_LOOKED_AT = 4000
_LONGEST_ERROR = 500
"""Characters; some of llguidance's errors repeat the whole grammar."""


class ConstraintError(ValueError):
    """The grammar is invalid or not supported; the text says what."""


def reason_of(matcher: LLMatcher) -> str:
    """Why a matcher fails, in a line."""
    message = matcher.get_error()
    for sign, meaning in _MEANINGS.items():
        if sign in message:
            return meaning
    message = message.removesuffix("<non-verbose/>")[:_LOOKED_AT].replace(_BASE_URI, "")
    message = " ".join(message.split())
    for error, wording in _WORDINGS:
        message = error.sub(wording, message)
    return message[:_LONGEST_ERROR]
