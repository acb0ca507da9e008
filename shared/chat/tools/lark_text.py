r"""Lark grammar of a text as one of the same text in a JSON string.

What a custom tool is called with follows a grammar, and calls are JSON: there a newline is ``\n``
and a quote ``\"``. So each string and each regular expression of the grammar is written for the
text as JSON has it, and character by character: terminals become rules. As a terminal, ``/.*/``
before a newline would have eaten the newline's backslash, since llguidance's lexer takes the
longest text and does not go back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache

_TOKEN = re.compile(
    r"""
    (?P<comment>(?://|\#)[^\n]*)
    | (?P<range>"(?:[^"\\\n]|\\.)+"\s*\.\.\s*"(?:[^"\\\n]|\\.)+")
    | (?P<string>"(?:[^"\\\n]|\\.)*"i?)
    | (?P<regex>/(?!/)(?:[^/\\\n]|\\.)+/[a-z]*)
    | (?P<import>%import\s+common\s*\.\s*(?P<imported>\w+)(?:\s*->\s*(?P<alias>\w+))?)
    | (?P<directive>%\w+)
    | (?P<alias_of_rule>->\s*\w+)
    | (?P<name>[!?]?_*[A-Za-z]\w*)
    | (?P<token><[^>\n]*>|@\w+)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMON = {
    "DIGIT": "[0-9]",
    "HEXDIGIT": "[0-9a-fA-F]",
    "LCASE_LETTER": "[a-z]",
    "UCASE_LETTER": "[A-Z]",
    "LETTER": "[a-zA-Z]",
    "WORD": "[a-zA-Z]+",
    "CNAME": "[a-zA-Z_][a-zA-Z0-9_]*",
    "INT": "[0-9]+",
    "SIGNED_INT": "[+-]?[0-9]+",
    "DECIMAL": r"[0-9]+\.[0-9]*|\.[0-9]+",
    "NUMBER": r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+",
    "SIGNED_NUMBER": r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)",
    "WS_INLINE": r"[ \t]+",
    "WS": r"[ \t\f\r\n]+",
    "CR": r"\r",
    "LF": r"\n",
    "NEWLINE": r"(?:\r?\n)+",
}
"""Lark's ``common`` terminals, as far as they are meant for texts."""
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v", "a": "\a", "0": "\0"}
_CLASSES = "dDwWsS"
_SPECIAL = ['"', "\\", *map(chr, range(0x20))]
"""Characters that JSON strings have another way."""
_UNESCAPED = re.compile(r"\\.|[\[&~/]", re.DOTALL)
"""What has to be escaped in a class of Rust's or between slashes, and what is."""
_QUANTIFIED = re.compile(r" ([*+?]|\{\d)")
_PLAIN = r'[^"\\\x00-\x1f]'
_ATOM = re.compile(
    r"""
    (?P<class>\[\^?\]?(?:[^\]\\]|\\.)*\])
    | \\(?:x(?P<hex>[0-9a-fA-F]{2})|u(?P<unicode>[0-9a-fA-F]{4})|(?P<escape>.))
    | (?P<look>\(\?(?!:))
    | (?P<group>\((?:\?:)?)
    | (?P<syntax>[)|*+?]|\{\d+(?:,\d*)?\})
    | (?P<char>.)
    """,
    re.VERBOSE | re.DOTALL,
)


class LarkError(ValueError):
    """The grammar has what can't be followed inside of JSON; the text says what."""


def json_text_rules(source: str, prefix: str) -> str:
    """The rules, whose names begin with ``prefix``: ``{prefix}start`` is the text in JSON.

    Raises `LarkError`. Takes time in proportion to ``source``.
    """
    written = "".join(_written(source, prefix))
    if not re.search(rf"^\s*{prefix}start\s*:", written, re.MULTILINE):
        raise LarkError("it has no rule 'start'")
    return written + "\n"


def _written(source: str, prefix: str) -> Iterator[str]:
    for token in _TOKEN.finditer(source):
        kind, text = token.lastgroup, token[0]
        if kind in ("comment", "alias_of_rule"):
            continue
        if kind in ("imported", "alias", "import"):
            yield _imported(token["imported"], token["alias"], prefix)
        elif kind == "range":
            first, last = (json.loads(part) for part in re.split(r"\s*\.\.\s*", text))
            yield _class_text(f"[{re.escape(first)}-{re.escape(last)}]")
        elif kind == "string":
            yield _string(text)
        elif kind == "regex":
            yield f"({_regex(*text[1:].rsplit('/', 1))})"
        elif kind == "name":
            yield _name(text.lstrip("!?"), prefix)
        elif kind in ("directive", "token"):
            raise LarkError(f"'{text[:64]}' is not supported in the grammar of a tool")
        else:
            yield text


def _name(name: str, prefix: str) -> str:
    """A rule's, where a terminal's would be its in capitals."""
    is_terminal = name.lstrip("_")[0].isupper()
    return f"{prefix}t_{name.lower()}" if is_terminal else prefix + name


def _imported(name: str, alias: str | None, prefix: str) -> str:
    if name not in _COMMON:
        known = ", ".join(_COMMON)
        raise LarkError(f"'common.{name[:64]}' is not supported; these are: {known}")
    return f"{_name(alias or name, prefix)}: {_regex(_COMMON[name], '')}"


def _string(text: str) -> str:
    if text.endswith("i"):
        raise LarkError(f"{text[:64]}: strings of any case are not supported; write a class, [aA]")
    try:
        said: str = json.loads(text.replace("\\'", "'"), strict=False)
    except ValueError:
        raise LarkError(f"the string {text[:64]} can't be read") from None
    return f"({' '.join(map(_character, said))})" if said else '""'


def _in_json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _regex(pattern: str, flags: str) -> str:
    """A regular expression of the text as JSON has it."""
    if flags not in ("", "s"):
        raise LarkError(f"flags other than s are not supported: /{pattern[:64]}/{flags[:8]}")
    written: list[str] = []
    for atom in _ATOM.finditer(pattern):
        if atom["class"] is not None:
            written.append(_class_text(atom["class"]))
        elif atom["group"] is not None:
            written.append("(")
        elif atom["syntax"] is not None:
            written.append(atom[0])
        elif (digits := atom["hex"] or atom["unicode"]) is not None:
            written.append(_character(chr(int(digits, 16))))
        elif (escape := atom["escape"]) is not None:
            written.append(_escape(escape))
        elif atom["char"] == ".":
            written.append(_class_text(r"[^\n]" if not flags else r"[\s\S]"))
        elif atom["look"] is not None or atom["char"] in ("^", "$"):
            raise LarkError(f"'{atom[0]}' is not supported in /{pattern[:64]}/")
        elif atom["char"] == "[":
            raise LarkError(f"a class is not closed in /{pattern[:64]}/")
        elif pattern.startswith("{,", atom.start()):
            raise LarkError(f"write {{0,n}} rather than {{,n}} in /{pattern[:64]}/")
        else:
            written.append(_character(atom["char"]))
    return _QUANTIFIED.sub(r"\1", " ".join(written))


def _escape(escape: str) -> str:
    if escape in _CLASSES:
        return _class_text(f"[\\{escape}]")
    if escape.isalnum() and escape not in _ESCAPES:
        raise LarkError(f"'\\{escape}' is not supported in a regular expression")
    return _character(_ESCAPES.get(escape, escape))


def _character(char: str) -> str:
    """A string of Lark."""
    return json.dumps(_in_json(char), ensure_ascii=False)


def _literal(text: str) -> str:
    escaped = "".join("\\/" if c == "/" else re.escape(c) for c in text)
    return escaped if len(text) == 1 else f"(?:{escaped})"


@lru_cache(1024)
def _class_text(text: str) -> str:
    """A terminal of one character: those that JSON has as they are, and escapes of the others."""
    try:
        python = re.compile(text)
    except re.error as error:
        raise LarkError(f"{text[:64]}: {error}") from None
    ways = [_literal(_in_json(char)) for char in _SPECIAL if python.fullmatch(char)]
    is_negated = text.startswith("[^")
    inner = _UNESCAPED.sub(
        lambda found: found[0] if len(found[0]) > 1 else "\\" + found[0], text[1 + is_negated : -1]
    )
    is_plain = not text.isascii() or any(python.fullmatch(chr(i)) for i in range(0x20, 0x100))
    if is_plain:
        ways.insert(0, f"[{'[^' if is_negated else '['}{inner}]&&{_PLAIN}]")
    return f"/{'|'.join(ways)}/"
