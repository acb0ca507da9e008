r"""GBNF, llama.cpp's grammar format, as llguidance's Lark.

GBNF speaks of characters. llguidance reads a text as compilers do: a lexer cuts it into terminals,
each as long as possible, and a parser puts these together. Were ``[a-z]+`` a terminal of its own,
``[a-z]+ "ing"`` could match nothing, since the terminal takes the ``ing`` too.

So a grammar without recursion becomes a single terminal, which is a regular expression and fast. In
one with recursion every terminal is a single character, which is right and slower: a mask over
152,000 tokens takes 1 to 9 ms rather than 0.05.

The format is described in llama.cpp's ``grammars/README.md``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NoReturn

_LARK = re.compile(r"^[ \t]*+(?:%llguidance\b|start[ \t]*+:(?!:=))", re.MULTILINE)
_TOKEN = re.compile(
    r"""
    (?P<space>(?:[ \t]|\#[^\r\n]*+)++)
  | (?P<newline>[\r\n]++)
  | (?P<define>::=)
  | (?P<name>[A-Za-z0-9_-]++)
  | (?P<literal>"(?:[^"\\]|\\.)*+")
  | (?P<characters>\[(?:[^\]\\]|\\.)*+\])
  | (?P<token>!?<(?:\[[0-9]++\]|[^<>\s\[]++)>)
  | (?P<repetition>[*+?]|\{\s*+[0-9]++\s*+(?:,\s*+[0-9]*+\s*+)?+\})
  | (?P<symbol>[|().])
    """,
    re.VERBOSE | re.DOTALL,
)
_CHARACTER = re.compile(
    r'\\x([0-9a-fA-F]{2})|\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})|\\([nrt"\\\[\]-])|([^\\])',
    re.DOTALL,
)
_MAX_ITEMS = 2**16
"""llguidance's limit of symbols in a grammar."""
_MAX_DIGITS = 9
"""Of a number of repetitions; llguidance's have 32 bits."""
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}


class GBNFError(ValueError):
    """The text is no GBNF; the message says where and why."""


def is_lark(source: str) -> bool:
    """Whether a grammar is in llguidance's Lark rather than in GBNF: it begins with ``start:``."""
    return _LARK.search(source) is not None


def gbnf_to_lark(source: str) -> str:
    """The same language in Lark; raises `GBNFError`."""
    rules = _Parser(source).rules
    if "root" not in rules:
        raise GBNFError("there is no rule 'root'")
    by_character = _is_recursive(rules) or any(
        item.token is not None for rule in rules.values() for item in rule.items()
    )
    # Upper case makes a rule a terminal.
    names = {name: f"{'r' if by_character else 'R'}{i}" for i, name in enumerate(rules)}
    lines = [f"start: {names['root']}"]
    for name, rule in rules.items():
        alternatives = (
            " ".join(item.written(names, by_character=by_character) for item in sequence) or '""'
            for sequence in rule.alternatives
        )
        lines.append(f"{names[name]}: {' | '.join(alternatives)}")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class _Item:
    """A text, a set of characters (a regular expression), a token, or a reference to a rule."""

    text: str | None = None
    characters: str | None = None
    token: str | None = None
    rule: str | None = None
    times: str = ""
    """The repetition behind it, as Lark writes it."""

    def written(self, names: Mapping[str, str], *, by_character: bool) -> str:
        """The item in Lark. ``names``: what rules are called there."""
        if self.rule is not None:
            return names[self.rule] + self.times
        if self.token is not None:
            return self.token + self.times
        if self.text is None:
            return f"/{self.characters}/{self.times}"
        if not by_character or len(self.text) < 2:
            return _quoted(self.text) + self.times
        spelled = " ".join(map(_quoted, self.text))
        return f"({spelled}){self.times}" if self.times else spelled


@dataclass(slots=True)
class _Rule:
    """Alternatives, each of which is a sequence of items. Groups are rules of their own."""

    alternatives: list[list[_Item]] = field(default_factory=lambda: [[]])

    def items(self) -> Iterator[_Item]:
        for sequence in self.alternatives:
            yield from sequence

    def references(self) -> Iterator[str]:
        return (item.rule for item in self.items() if item.rule is not None)


class _Parser:
    """Reads all rules. Groups may be nested to any depth: nothing in here is recursive."""

    def __init__(self, source: str) -> None:
        """Read ``source``; raises `GBNFError`."""
        self.rules: dict[str, _Rule] = {}
        self._source = source
        self._start = self._end = 0  # of the token that was read last
        self._n_groups = 0
        self._n_items = 0
        while (token := self._next(is_nested=True))[0]:
            if token[0] != "name":
                self._fail("expected the name of a rule")
            if self._next(is_nested=False)[0] != "define":
                self._fail("expected '::='")
            self.rules[token[1]] = self._body()
        for name, rule in self.rules.items():
            for other in rule.references():
                if other not in self.rules:
                    raise GBNFError(f"rule '{other}', which '{name}' refers to, is not defined")

    def _body(self) -> _Rule:
        """A rule's alternatives, up to the end of the line."""
        rule = _Rule()
        outer: list[_Rule] = []
        goes_on = True  # on the next line: behind ::= and |, and in groups
        while True:
            kind, text = self._next(is_nested=goes_on or bool(outer))
            sequence = rule.alternatives[-1]
            self._n_items += 1
            if self._n_items > _MAX_ITEMS:
                self._fail("the grammar is too large")
            goes_on = kind == "symbol" and text == "|"
            if kind in ("", "newline"):
                if outer:
                    self._fail("expected ')'")
                return rule
            if goes_on:
                rule.alternatives.append([])
            elif kind == "symbol" and text == "(":
                outer.append(rule)
                rule = _Rule()
            elif kind == "symbol" and text == ")":
                if not outer:
                    self._fail("there is no '(' to this ')'")
                group, rule = rule, outer.pop()
                rule.alternatives[-1].append(self._group(group))
            elif kind == "repetition":
                if not sequence:
                    self._fail("there is nothing to repeat")
                sequence.append(self._repeated(sequence.pop(), text))
            else:
                sequence.append(self._item(kind, text))

    def _group(self, group: _Rule) -> _Item:
        """A reference to ``group``, which becomes a rule."""
        self._n_groups += 1
        name = f"({self._n_groups})"  # nothing that a caller can write
        self.rules[name] = group
        return _Item(rule=name)

    def _repeated(self, item: _Item, text: str) -> _Item:
        low, comma, high = "".join(text.split()).strip("{}").partition(",")
        if text[0] == "{":
            if len(low) > _MAX_DIGITS or len(high) > _MAX_DIGITS:
                self._fail("there are too many repetitions")
            if high and int(high) < int(low):
                self._fail("a repetition ends before it begins")
            if int(high or low) == 0 and (high or not comma):
                return _Item(text="")
        if item.times:
            item = self._group(_Rule([[item]]))
        return replace(item, times="".join(text.split()))

    def _item(self, kind: str, text: str) -> _Item:
        if kind == "name":
            return _Item(rule=text)
        if kind == "literal":
            return _Item(text="".join(self._decoded(text[1:-1])))
        if kind == "characters":
            return _Item(characters=self._set(text[1:-1]))
        if kind == "token":
            return _Item(token=text if text[0] == "<" else text[1:].replace("<[", "<[^"))
        if text != ".":
            self._fail(f"'{text}' has no meaning here")
        return _Item(characters="(?s:.)")

    def _set(self, inside: str) -> str:
        """A set of characters as a regular expression."""
        is_negated = inside.startswith("^")
        inside = inside.removeprefix("^")
        characters = list(self._decoded(inside))
        is_dash = [match[0] == "-" for match in _CHARACTER.finditer(inside)]
        ranges: list[str] = []
        first = 0
        while first < len(characters):
            last = first + 2 if first + 2 < len(characters) and is_dash[first + 1] else first
            if characters[last] < characters[first]:
                self._fail("a range ends before it begins")
            ranges.append(f"{_code(characters[first])}-{_code(characters[last])}")
            first = last + 1
        if not ranges:
            self._fail("a set has no characters")
        return f"[{'^' if is_negated else ''}{''.join(ranges)}]"

    def _decoded(self, text: str) -> Iterator[str]:
        """The characters that ``text`` stands for."""
        position = 0
        while position < len(text):
            match = _CHARACTER.match(text, position)
            if match is None:
                self._fail(f"unknown escape '{text[position : position + 2]}'")
            position = match.end()
            number = match[1] or match[2] or match[3]
            if number is None:
                yield match[5] or _ESCAPED.get(match[4], match[4])
                continue
            code = int(number, 16)
            if code > 0x10FFFF or 0xD800 <= code < 0xE000:
                self._fail(f"'{match[0]}' is no character")
            yield chr(code)

    def _next(self, *, is_nested: bool) -> tuple[str, str]:
        """The next token's kind and text, two empty ones at the end.

        White space is left out. In nested places the ends of lines are white space too.
        """
        while True:
            self._start = self._end
            if self._start == len(self._source):
                return "", ""
            match = _TOKEN.match(self._source, self._start)
            if match is None:
                self._fail(f"'{self._source[self._start]}' begins nothing that is known here")
            assert match.lastgroup is not None
            self._end = match.end()
            if match.lastgroup != "space" and not (is_nested and match.lastgroup == "newline"):
                return match.lastgroup, match[0]

    def _fail(self, reason: str) -> NoReturn:
        before = self._source[: self._start]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise GBNFError(f"line {line}, column {column}: {reason}")


def _is_recursive(rules: Mapping[str, _Rule]) -> bool:
    """Whether a rule leads to itself."""
    finished: set[str] = set()
    for name in rules:
        path: dict[str, Iterator[str]] = {}
        if name not in finished:
            path[name] = rules[name].references()
        while path:
            current, references = next(reversed(path.items()))
            other = next(references, None)
            if other is None:
                finished.add(current)
                del path[current]
            elif other in path:
                return True
            elif other not in finished:
                path[other] = rules[other].references()
    return False


def _quoted(text: str) -> str:
    """``text`` as a string of Lark, which JSON's strings are too."""
    return json.dumps(text, ensure_ascii=False)


def _code(character: str) -> str:
    """A character in a regular expression's set."""
    is_plain = character.isascii() and character.isalnum()
    return character if is_plain else f"\\u{{{ord(character):X}}}"
