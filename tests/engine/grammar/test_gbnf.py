"""GBNF means what llama.cpp has it mean: the language is tried out, text by text."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest

from shared.engine.grammar.compiler import ConstraintCompiler
from shared.engine.grammar.errors import ConstraintError
from shared.engine.grammar.gbnf import is_lark
from shared.engine.grammar.grammar import grammar
from shared.engine.llama.model import Model

Accepts = Callable[[str], bool]


@pytest.fixture(scope="module")
def language(model: Model) -> Callable[[str], Accepts]:
    """The language of a grammar: whether a text is in it."""
    compiler = ConstraintCompiler(model)

    def of(source: str) -> Accepts:
        constraint = compiler.compile(grammar("gbnf", source))

        def accepts(text: str) -> bool:
            matcher = constraint.start()
            for token in model.tokenize(text, add_special=False, parse_special=False):
                if matcher.is_complete:
                    return False
                matcher.accept(token)
                if matcher.error is not None:
                    return False
            if matcher.is_complete:
                return True
            logits = np.zeros(model.n_vocab, dtype=np.float32)
            matcher.apply(logits)
            return bool(logits[model.end_tokens].max() == 0)

        return accepts

    return of


@pytest.mark.sweep(1)
@pytest.mark.parametrize(
    ("source", "pattern", "alphabet"),
    [
        ('root ::= "ab" | "c"', "ab|c", "abc"),
        ('root ::= "a" | ', "a?", "ab"),
        ('root ::= ""', "", "a"),
        ("root ::= [ab]*", "[ab]*", "abc"),
        ('root ::= [ab]+ "b"', "[ab]+b", "ab"),
        ('root ::= word "ab"\nword ::= [ab]+', "[ab]+ab", "ab"),
        ('root ::= ("a" | "ab") "b"', "(a|ab)b", "ab"),
        ('root ::= x "b"\nx ::= "a" | "ab"', "(a|ab)b", "ab"),
        ('root ::= (a b)+\na ::= "x" | "xy"\nb ::= "y" | "yz"', "((x|xy)(y|yz))+", "xyz"),
        ('root ::= "a"? "ab"? "b"', "a?(ab)?b", "ab"),
        ('root ::= w " " w\nw ::= [a ]+', "[a ]+ [a ]+", "a "),
        ('root ::= "a"{3}', "a{3}", "a"),
        ('root ::= ("a" "b"){1,2}', "(ab){1,2}", "ab"),
        ('root ::= "ab"{2,}', "(ab){2,}", "ab"),
        ('root ::= "a"{0,2} "b"{0} "c"{ 1 , 1 }', "a{0,2}c", "abc"),
        ('root ::= ("a"?){0,2}', "a{0,2}", "a"),
        ('root ::= "a"+?', "(a+)?", "a"),
        ("root ::= [^a]", "[^a]", "abc"),
        ("root ::= [a-c-]", "[a-c-]", "abcd-"),
        ("root ::= [-b]", "[-b]", "abc-"),
        (r"root ::= [\]\[\\^]", r"[\]\[\\^]", "[]^\\"),
        (r"root ::= [\x61\u0062\U00000063]", "[a-c]", "abcd"),
        (r'root ::= "\x61\u0062\U00000063"', "abc", "abc"),
        ('root ::= "a" . "a"', "(?s)a.a", "a\nb"),
        ("root ::= #(\n  [a] # first\n", "a", "ab"),
        ("# nothing\r\n\r\nroot ::= (\r\n  [a] # first\r\n  [b]\r\n)\r\n\r\n", "ab", "ab"),
        ('root ::=\n  "a" |\n  "b"', "a|b", "ab"),
        ("root::=a\na::=[a]", "a", "ab"),
        ('root ::= my-Rule my_rule\nmy-Rule ::= "a"\nmy_rule ::= "b"', "ab", "ab"),
        ('root ::= start\nstart ::= "a"', "a", "ab"),
        ('unused ::= unused "x"\nroot ::= "a"', "a", "ax"),
        ('root ::= "a"\nroot ::= "b"', "b", "ab"),
    ],
)
def test_grammars_without_recursion_are_as_the_regular_expression(
    language: Callable[[str], Accepts], source: str, pattern: str, alphabet: str
) -> None:
    accepts = language(source)

    for length in range(5):
        for letters in product(alphabet, repeat=length):
            text = "".join(letters)
            assert accepts(text) == bool(re.fullmatch(pattern, text)), text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "accepted", "alphabet"),
    [
        (
            'root ::= "(" root ")" root | ',
            lambda text: (
                text.count("(") == text.count(")")
                and all(text[:i].count("(") >= text[:i].count(")") for i in range(len(text)))
            ),
            "()",
        ),
        (
            'root ::= "a" root "a" | "b" root "b" | [ab]?',
            lambda text: text == text[::-1],
            "ab",
        ),
        (
            'root ::= "ab" root "b" | "a"',
            lambda text: any(text == "ab" * n + "a" + "b" * n for n in range(4)),
            "ab",
        ),
        ('root ::= root "a" | "b"', lambda text: bool(re.fullmatch("ba*", text)), "ab"),
        (
            'root ::= words\nwords ::= word (" " words)?\nword ::= [ab]+ "b"',
            lambda text: bool(re.fullmatch("[ab]+b( [ab]+b)*", text)),
            "ab ",
        ),
    ],
)
def test_grammars_with_recursion_are_exact_too(
    language: Callable[[str], Accepts], source: str, accepted: Accepts, alphabet: str
) -> None:
    accepts = language(source)

    for length in range(7):
        for letters in product(alphabet, repeat=length):
            text = "".join(letters)
            assert accepts(text) == accepted(text), text


def test_characters_are_those_of_unicode(language: Callable[[str], Accepts]) -> None:
    accepts = language('root ::= [ぁ-ゟ]{2} "é🔥" [^\\u2028\\x85あ] "\\"\\\\\\t"')

    assert accepts('あゟé🔥ß"\\\t')
    assert not accepts('アゟé🔥ß"\\\t')
    assert not accepts('あゟé🔥\u2028"\\\t')
    assert not accepts('あゟé🔥あ"\\\t')


def test_tokens_can_be_named_and_ruled_out(
    language: Callable[[str], Accepts], model: Model
) -> None:
    (one,), (two,) = (model.tokenize(digit, add_special=False) for digit in "12")

    assert language(f"root ::= <[{one}]>+ [2]")("112")
    assert language(f"root ::= !<[{two}]>* <[{two}]>")("312")
    assert not language(f"root ::= !<[{two}]>* <[{one}]>")("21")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "no rule 'root'"),
        ('a ::= "x"', "no rule 'root'"),
        ("root ::= lamp", "'lamp', which 'root' refers to"),
        ("root ::= (", "line 1, column 11: expected ')'"),
        ('root ::= "a")', "column 13: there is no '('"),
        ('root ::= "a', "begins nothing"),
        ("root ::= [a", "begins nothing"),
        ("root ::= []", "no characters"),
        ("root ::= [b-a]", "ends before it begins"),
        ('root ::= "\\q"', "unknown escape '\\q'"),
        ('root ::= "\\ud800"', "'\\ud800' is no character"),
        ('root ::= "\\U00110000"', "no character"),
        ('root ::= "\\x6"', "unknown escape"),
        ("root ::= *", "nothing to repeat"),
        ('root ::= "a" | *', "nothing to repeat"),
        ('root ::= "a"\n| "b"', "line 2, column 1: expected the name of a rule"),
        ('root "a"', "expected '::='"),
        ('root ::= "a" ::= "b"', "'::=' has no meaning here"),
        ("root ::= a{2", "begins nothing"),
        ('root ::= "a"{3,1}', "line 1, column 13: a repetition ends before it begins"),
        ('root ::= "a"{0,' + "9" * 5000 + "}", "too many repetitions"),
        ("root ::= <no-such-token>", "there is no control token <no-such-token>"),
        ("root ::= <[99999999]>", "there is no token with the id 99999999"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(
    language: Callable[[str], Accepts], source: str, message: str
) -> None:
    with pytest.raises(ConstraintError, match=re.escape(message)):
        language(source)


@pytest.mark.parametrize(
    ("source", "lark"),
    [
        ('start: "a"', True),
        ("%llguidance {}\nstart: A\nA: /a/", True),
        ('A: /a/\n  start : "a"', True),
        ('start ::= "a"', False),
        ('root ::= "start: x"', False),
        ('root ::= start\nstart ::= "a"', False),
    ],
)
def test_lark_is_told_from_gbnf(source: str, lark: bool) -> None:
    assert is_lark(source) == lark


@pytest.mark.sweep(1)
@pytest.mark.parametrize(
    "source",
    [
        "\n" * 100_000 + 'root ::= "a"',
        " " * 100_000 + 'root ::= "a"',
        "#\n" * 50_000 + 'root ::= "a"',
        'root ::= "a"{1,' + " " * 100_000,
        'root ::= "' + '\\"' * 50_000,
        "root ::= " + "(" * 100_000,
        "root ::= [" + "\\]" * 50_000,
        "start" + " " * 100_000,
    ],
    ids=lambda source: repr(source[:12]),
)
def test_reading_takes_linear_time(source: str) -> None:
    """Quadratic time would be hours."""
    with contextlib.suppress(ConstraintError):
        grammar("gbnf", source)


def test_groups_may_be_nested_deeply(language: Callable[[str], Accepts]) -> None:
    """As generators for older versions of llama.cpp write ``a{0,200}``."""
    accepts = language("root ::= " + '("a" ' * 200 + ")?" * 200)

    assert accepts("")
    assert accepts("a" * 200)
    assert not accepts("a" * 201)
