"""Constrained decoding: whatever the model would like to say, the text follows the grammar."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from shared.engine.grammar.compiler import ConstraintCompiler
from shared.engine.grammar.constraint import Constraint
from shared.engine.grammar.errors import ConstraintError
from shared.engine.grammar.grammar import GrammarKind, grammar
from shared.engine.llama.model import Model
from shared.engine.sampling.logit_bias import LogitBias
from shared.engine.types import SamplingParams
from tests.engine.conftest import GREEDY, EngineFactory, chat, collect, one, request, run
from tests.engine.exact_context import exact_contexts
from tests.engine.grammar.held_constraints import MeetingConstraint
from tests.sweeps import examples

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 3},
    },
    "required": ["name", "age", "tags"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def compiler(model: Model) -> ConstraintCompiler:
    return ConstraintCompiler(model)


def compiled(compiler: ConstraintCompiler, kind: GrammarKind, source: Any) -> Constraint:
    return compiler.compile(grammar(kind, source))


@pytest.mark.sweep(1)
@pytest.mark.parametrize(
    "sampling",
    [
        GREEDY,
        SamplingParams(seed=3),
        SamplingParams(seed=3, top_k=5),
        SamplingParams(seed=3, top_p=0.9, min_p=0.05, typical_p=0.9),
        SamplingParams(seed=3, frequency_penalty=2, repeat_penalty=1.3),
    ],
    ids=["greedy", "whole", "top_k", "truncated", "penalised"],
)
def test_every_way_of_sampling_follows_the_schema(
    make_engine: EngineFactory, model: Model, compiler: ConstraintCompiler, sampling: SamplingParams
) -> None:
    constraint = compiled(compiler, "json_schema", PERSON)

    results = run(
        make_engine(),
        *(
            request(
                chat(model, "Tell me a story"),
                120,
                constraint=constraint,
                sampling=replace(sampling, seed=seed),
            )
            for seed in range(examples(8))
        ),
    )

    for result in results:
        assert result.finish_reason == "stop"
        jsonschema.validate(json.loads(result.text), PERSON)


def test_json_may_be_spaced_as_the_model_is_used_to(
    make_engine: EngineFactory, model: Model, compiler: ConstraintCompiler
) -> None:
    schema = {
        "type": "object",
        "properties": {"country": {"type": "string"}, "capital": {"type": "string"}},
        "required": ["country", "capital"],
        "additionalProperties": False,
    }
    prompt = chat(model, "What is the capital of France? Answer in JSON.")

    result = one(
        make_engine(),
        request(prompt, 60, constraint=compiled(compiler, "json_schema", schema), sampling=GREEDY),
    )

    assert result.text == '{"country": "France", "capital": "Paris"}'


def test_json_has_no_room_for_rambling_in_white_space(
    make_engine: EngineFactory, model: Model, compiler: ConstraintCompiler
) -> None:
    digit = {"type": "integer", "minimum": 0, "maximum": 9}
    schema = {"type": "array", "items": digit, "minItems": 3, "maxItems": 3}
    blanks = [t for t in range(model.n_vocab) if model.render(t, special=False).isspace()]
    sampling = replace(GREEDY, logit_bias=LogitBias(dict.fromkeys(blanks, 100.0)))

    result = one(
        make_engine(),
        request(
            chat(model, "Hi"),
            constraint=compiled(compiler, "json_schema", schema),
            sampling=sampling,
        ),
    )

    assert re.fullmatch(r" ?\[ ?\d ?, ?\d ?, ?\d ?\] ?", result.text)
    assert " " in result.text


@pytest.mark.sweep(2)
@pytest.mark.parametrize(
    ("kind", "source", "pattern"),
    [
        ("regex", "[a-c]{3}-[0-9]{2}", r"[a-c]{3}-\d{2}"),
        ("regex", "(?x) a / b # then\n [cd]\\\n", "a/b[cd]\n"),
        ("gbnf", 'root ::= "yes" | "no"', "yes|no"),
        ("gbnf", 'root ::= item ("," item)? \nitem ::= [0-9]+ "!"', r"\d+!(,\d+!)?"),
        ("gbnf", 'start: "yes" | "no"', "yes|no"),
        ("lark", 'start: "<" WORD ">"\nWORD: /[x-z]{2,4}/', "<[x-z]{2,4}>"),
    ],
)
def test_texts_follow_the_grammar(
    make_engine: EngineFactory,
    model: Model,
    compiler: ConstraintCompiler,
    kind: GrammarKind,
    source: str,
    pattern: str,
) -> None:
    constraint = compiled(compiler, kind, source)

    results = run(
        make_engine(),
        *(
            request(chat(model, "Hi"), constraint=constraint, sampling=SamplingParams(seed=seed))
            for seed in range(6)
        ),
    )

    for result in results:
        assert result.finish_reason == "stop" or len(result.text) > 60
        assert re.fullmatch(pattern, result.text) or result.finish_reason == "length"


def test_a_completed_grammar_needs_no_end_token(
    make_engine: EngineFactory, model: Model, compiler: ConstraintCompiler
) -> None:
    constraint = compiled(compiler, "regex", "Paris")

    result = one(make_engine(), request(chat(model, "Hi"), constraint=constraint))

    assert result.text == "Paris"
    assert result.finish_reason == "stop"
    assert b"".join(model.piece(t) for t in model.tokenize("Paris", add_special=False)) == b"Paris"


def test_a_sequence_that_may_not_end_ends_where_the_grammar_does(
    make_engine: EngineFactory, model: Model, compiler: ConstraintCompiler
) -> None:
    constraint = compiled(compiler, "regex", "ab?")
    endless = SamplingParams(seed=1, ignore_eos=True)

    result = one(make_engine(), request(chat(model, "Hi"), constraint=constraint, sampling=endless))

    assert result.text == "ab"


def test_the_grammar_wins_over_bans(
    make_engine: EngineFactory, model: Model, compiler: ConstraintCompiler
) -> None:
    bans = dict.fromkeys(range(model.n_vocab), -100.0)
    constraint = compiled(compiler, "regex", "[ab]")

    result = one(
        make_engine(),
        request(
            chat(model, "Hi"),
            constraint=constraint,
            sampling=SamplingParams(seed=1, logit_bias=LogitBias(bans)),
        ),
    )

    assert result.text in ("a", "b")


def test_other_sequences_of_the_batch_are_not_constrained(
    make_engine: EngineFactory, model: Model, compiler: ConstraintCompiler
) -> None:
    engine = make_engine()
    free = request(chat(model, "What is the capital of France?"))
    alone = one(engine, free).text
    digits = request(
        chat(model, "Hi"),
        20,
        constraint=compiled(compiler, "regex", "[0-9]+"),
        sampling=SamplingParams(seed=1, ignore_eos=True),
    )

    results = run(engine, free, digits, free, digits)

    assert [results[0].text, results[2].text] == [alone, alone]
    assert re.fullmatch(r"\d+", results[1].text)
    assert results[1].text == results[3].text


def test_each_choice_is_at_its_own_place_in_the_grammar(
    make_engine: EngineFactory, model: Model, compiler: ConstraintCompiler
) -> None:
    constraint = compiled(compiler, "json_schema", PERSON)
    asked = request(
        chat(model, "Hi"), 120, n=4, constraint=constraint, sampling=SamplingParams(seed=9)
    )

    results = asyncio.run(collect(make_engine(), asked))

    assert len({result.text for result in results}) > 1
    for result in results:
        jsonschema.validate(json.loads(result.text), PERSON)


@pytest.mark.slow
def test_a_constraint_survives_preemption(
    make_engine: EngineFactory,
    model: Model,
    compiler: ConstraintCompiler,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    digits = [*model.tokenize("0123456789", add_special=False), *model.tokenize(" ")]
    monkeypatch.setattr("shared.engine.engine.new_context", exact_contexts(digits))
    constraint = compiled(compiler, "regex", "[0-9 ]{150}")
    asked = [
        request(
            chat(model, "Count from 1 to 100"),
            200,
            constraint=constraint,
            sampling=SamplingParams(seed=seed),
        )
        for seed in range(3)
    ]
    alone = [one(make_engine(), item).text for item in asked]
    meeting = MeetingConstraint(constraint, n_sequences=3, n_masks=60)
    asked = [replace(item, constraint=meeting) for item in asked]
    small = make_engine(n_ctx=256, n_parallel=3, kv_unified=True)

    crowded = run(small, *asked)

    assert [result.text for result in crowded] == alone
    assert small.stats().preemptions > 0


@pytest.mark.parametrize(
    ("kind", "source", "message"),
    [
        ("json_schema", {"type": "object", "not": {"type": "string"}}, "not"),
        ("json_schema", {"$ref": "https://example.com/schema"}, "example.com"),
        ("json_schema", {"type": "nonsense"}, "nonsense"),
        ("regex", "(unclosed", "unclosed"),
        ("regex", "ab\\", "ends with a backslash"),
        ("regex", "ab\\\\\\", "ends with a backslash"),
        ("lark", "start: /ab\\/", "what stands there can't be read"),
        ("lark", "start: missing_rule", "missing_rule"),
        ("gbnf", "root ::= (", "expected ')'"),
        ("json_schema", "no schema", "no JSON"),
        ("json_schema", {"type": "string", "pattern": "a(?=x)"}, "look-ahead"),
        ("json_schema", {"type": "number", "minimum": 1e-300}, "are nested too deeply"),
        ("regex", "(" * 300 + "a" + ")" * 300, "are nested too deeply"),
        ("regex", r"\bfoo/\b", r"in the pattern \bfoo\/\b: anchors"),
        ("lark", r"start: /a\b/", r"in the pattern a\b: anchors"),
        ("lark", "start: X\nX: /(.*a.{20})/ & /(.*b.{20})/ & ~/(.*c.{20})/", "are too large"),
        ("regex", "|".join(f"[a-{chr(98 + i % 20)}]{{{i}}}" for i in range(3000)), "are too large"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_not_supported_is_named(
    compiler: ConstraintCompiler, kind: GrammarKind, source: Any, message: str
) -> None:
    with pytest.raises(ConstraintError, match=re.escape(message)):
        compiled(compiler, kind, source)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"$ref": "#"}, "no text"),
        ({"type": "integer", "minimum": 10**400}, "out of range"),
        ({"type": "number", "maximum": float("inf")}, "out of range"),
        ({"default": float("nan"), "const": float("nan")}, "JSON"),
        ({"type": "string", "x-guidance": {"lenient": True}, "not": {"const": ""}}, "not"),
        ({"type": "object", "properties": {f"p{i}": {} for i in range(1000)}}, "too many ways"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_schemas_that_can_not_be_followed_are_refused_at_once(
    compiler: ConstraintCompiler, schema: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConstraintError, match=message):
        compiled(compiler, "json_schema", schema)


def test_errors_of_schemas_within_grammars_have_no_lines_of_the_grammar(
    compiler: ConstraintCompiler,
) -> None:
    schema = {"type": "object", "enum": [1, 2]}
    with pytest.raises(ConstraintError) as error:
        compiled(compiler, "lark", f'start: "<" call\ncall: %json {json.dumps(schema)}')

    assert str(error.value) == "Unsatisfiable schema: incompatible types"


def test_options_of_llguidances_own_do_not_change_the_json(
    make_engine: EngineFactory, model: Model, compiler: ConstraintCompiler
) -> None:
    options = {"key_separator": "=", "item_separator": ";", "whitespace_flexible": True}
    constraint = compiled(compiler, "json_schema", {**PERSON, "x-guidance": options})

    result = one(make_engine(), request(chat(model, "Hi"), 120, constraint=constraint))

    jsonschema.validate(json.loads(result.text), PERSON)


def test_a_grammar_that_fails_on_the_way_ends_its_sequence_alone(
    make_engine: EngineFactory, model: Model, compiler: ConstraintCompiler
) -> None:
    """An end would look as if the text were whole."""
    failing = compiled(compiler, "lark", "start: /[xyz]/ T\nT: /a{1000000}/")
    other = request(chat(model, "What is the capital of France?"))

    failed, fine = run(make_engine(), request(chat(model, "Hi"), constraint=failing), other)

    assert failed.finish_reason == "error"
    assert failed.error == "its regular expressions are too large"
    assert re.fullmatch("[xyz]a*", failed.text)
    assert (fine.text, fine.finish_reason) == ("The capital of France is Paris.", "stop")


@pytest.mark.slow
def test_a_grammar_that_failed_is_compiled_anew(
    make_engine: EngineFactory, model: Model, compiler: ConstraintCompiler
) -> None:
    engine = make_engine()
    texts = []
    for _ in range(2):
        failing = compiled(compiler, "lark", "start: /[xyz]/ T\nT: /a{999999}/")
        texts.append(one(engine, request(chat(model, "Hi"), constraint=failing)).text)

    assert texts[0] == texts[1] != ""


@pytest.mark.slow
def test_grammars_are_kept(compiler: ConstraintCompiler) -> None:
    first = compiled(compiler, "regex", "first")
    for i in range(31):
        compiled(compiler, "regex", f"{i}")
    assert compiled(compiler, "regex", "first") is first

    for i in range(32):
        compiled(compiler, "regex", f"x{i}")
    assert compiled(compiler, "regex", "first") is not first


def test_a_grammar_that_takes_long_to_follow_is_given_up(
    make_engine: EngineFactory, model: Model
) -> None:
    """Nobody else gets a token while the engine looks for the next one that is allowed."""
    slow = ConstraintCompiler(model, allowance_s=-1)  # as if a second too much was taken already
    asked = request(chat(model, "Hi"), constraint=compiled(slow, "regex", "[a-z]{9}"))

    result = one(make_engine(), asked)

    assert (result.finish_reason, result.error) == ("error", "following it takes too long")


def test_control_tokens_can_be_named_but_not_spelled(
    make_engine: EngineFactory, model: Model, compiler: ConstraintCompiler
) -> None:
    control = model.tokenize("<|im_start|>", add_special=False)[0]
    assert model.is_control(control)
    constraint = compiled(compiler, "lark", f'start: "a" <[{control}]> "b"')

    hidden = one(make_engine(), request(chat(model, "Hi"), constraint=constraint))
    shown = one(
        make_engine(),
        request(chat(model, "Hi"), constraint=constraint, visible_tokens=frozenset({control})),
    )

    assert hidden.text == "ab"
    assert shown.text == "a<|im_start|>b"
