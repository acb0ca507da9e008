"""Regular expressions of other dialects: the same texts match, or fewer."""

from __future__ import annotations

import itertools
import re

import pytest

from shared.json_schema.patterns import PatternError, translated
from tests.json_schema.random_text import Texts

DECIMAL = r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$"
EMAIL = (
    r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]"
    r"@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$"
)
DURATION = (
    r"^P(?:(\d+W)|(?!.*W)(?=\d|T\d)(\d+Y)?(\d+M)?(\d+D)?"
    r"(T(?=\d)(\d+H)?(\d+M)?(\d+([.,]\d+)?S)?)?)$"
)


def texts(letters: str, length: int) -> list[str]:
    """All texts of up to ``length`` letters."""
    return [
        "".join(text) for n in range(length + 1) for text in itertools.product(letters, repeat=n)
    ]


def matches(patterns: list[str], text: str) -> bool:
    return all(re.search(pattern, text) for pattern in patterns)


@pytest.mark.sweep(1)
@pytest.mark.parametrize(
    ("pattern", "candidates"),
    [
        (DECIMAL, texts("+-.01", 6)),
        (EMAIL, [f"{local}@a.bc" for local in texts("a.'+-_", 4)]),
        (EMAIL, [f"a@{domain}" for domain in texts("ab.-", 6)]),
        (DURATION, [f"P{rest}" for rest in texts("1YMDTHSW", 5)]),
        (DURATION, [f"PT1{rest}" for rest in texts("1HMS.,", 5)]),
        (r"^(?=.*a)(?=.*b).{3,4}$", texts("abc", 5)),
        (r"^(?=.{1,3}\.?$)a+(?:\.a+)*\.?$", texts("a.", 6)),
    ],
    ids=["decimal", "email", "domain", "duration", "time", "password", "length"],
)
def test_look_ahead_is_not_needed(pattern: str, candidates: list[str]) -> None:
    without = translated(pattern)

    assert not any("(?=" in part or "(?!" in part for part in without)
    assert sum(matches(without, text) for text in candidates) > 0
    for text in candidates:
        assert matches(without, text) == (re.search(pattern, text) is not None), text


@pytest.mark.parametrize(
    ("rest", "digits", "places"),
    [
        (r"(?:\d{0,3}|(?=[\d.]{1,4}0*$)\d*\.\d*0*$)", 3, 3),
        (r"\d*\.?\d{0,2}0*$", 99, 2),
        (r"\d*\.?\d{0,0}0*$", 99, 0),
        (r"(?:\d{0,2}|(?=[\d.]{1,4}0*$)\d{0,2}\.\d{0,1}0*$)", 3, 1),
        (r"(?:\d{0,0}|(?=[\d.]{1,3}0*$)\d{0,0}\.\d{0,5}0*$)", 2, 2),
    ],
)
def test_decimals_keep_their_limits(rest: str, digits: int, places: int) -> None:
    """Pydantic's own patterns are lax about them."""
    pattern = r"^(?!^[-+.]*$)[+-]?0*" + rest
    without = translated(pattern)

    found = [text for text in texts("-.01", 6) if matches(without, text)]

    assert len(found) > 5
    for text in found:
        assert re.search(pattern, text), text
        whole, _, fraction = text.lstrip("-").partition(".")
        assert len(whole.lstrip("0") + fraction) <= digits
        assert len(fraction) <= places


@pytest.mark.parametrize(
    ("pattern", "fits", "does_not"),
    [
        (r"^a\/b$", "a/b", "ab"),
        (r"^[[]a$", "[a", "a"),
        (r"^[]a]+$", "]a", "[a"),
        (r"^{a}$", "{a}", "a"),
        (r"^a{2}$", "aa", "a"),
        (r"^[a&&b]+$", "a&b", "c"),
        (r"^[a~~b]+$", "a~b", "c"),
        (r"\Aab\Z", "ab", "xab"),
        (r"^\<a\>$", "<a>", "a"),
        (r"^\_\@\-\#\:\=$", "_@-#:=", "_"),
        (r"^\x41\u00e9$", "Aé", "A"),
        (r"^\p{L}{2}$", "éA", "1A"),
        (r"^\w$", "a", "é"),
        (r"^\W$", "-", "é"),
        (r"^[^\w]$", "-", "é"),
        (r"^[\w.-]+$", "a.-_", "a b"),
        (r"^\D[^\d]$", "ab", "٣a"),
        (r"^a+?b*?$", "aab", "b"),
        (r"^(?:a|b){2,3}?$", "aba", "a"),
        (r"^a|b$", "xb", "x"),
        (r"(^a$|^b$)", "b", "ab"),
        (r"b{2}", "abba", "aba"),
        (r"^(?<year>\d{2})(?P<month>\d)$", "123", "12"),
        (r"(?i)^ab$", "aB", "b"),
        (r"^\cJ\t$", "\\n\\t", "a"),
    ],
)
def test_it_means_what_it_did(pattern: str, fits: str, does_not: str) -> None:
    grammar = Texts({"type": "string", "pattern": pattern})

    assert grammar.allows(f'"{fits}"')
    assert not grammar.allows(f'"{does_not}"')


@pytest.mark.parametrize(
    ("pattern", "phrase"),
    [
        ("(?!a)b", "look-ahead"),
        ("a(?=b)", "look-ahead"),
        ("(?<=a)b", "look-behind"),
        ("^(?=a)b|c$", "alternatives"),
        ("^(?=a", "unclosed"),
        ("^(?!admin$)[a-z]+$", "look-ahead"),
        ("a{,3}", "write {0,n}"),
        ("a\\", "backslash"),
    ],
)
def test_what_can_not_be_said_is_refused(pattern: str, phrase: str) -> None:
    with pytest.raises(PatternError, match=re.escape(phrase)):
        translated(pattern)
