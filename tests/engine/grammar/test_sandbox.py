"""Grammars that would hang or end the process are found out in another one."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest

from shared.engine.grammar.grammar import GrammarKind, grammar
from shared.engine.grammar.sandbox import GrammarSandbox


@pytest.fixture(scope="module")
def sandbox() -> GrammarSandbox:
    return GrammarSandbox(1280, {7: "<|end|>"})


def chain(n: int) -> dict[str, Any]:
    """A schema of ``n`` references, each to the next."""
    links = {
        f"d{i}": {"anyOf": [{"$ref": f"#/$defs/d{i + 1}"}, {"type": "null"}]} for i in range(n)
    }
    return {"$ref": "#/$defs/d0", "$defs": {**links, f"d{n}": {"type": "integer"}}}


@pytest.mark.sweep(1)
@pytest.mark.parametrize(
    ("kind", "source", "reason"),
    [
        ("json_schema", {"type": "object"}, None),
        ("json_schema", {"enum": [f"value {i}" for i in range(10_000)]}, None),
        ("json_schema", chain(200), None),
        ("json_schema", chain(20_000), "nested too deeply"),
        pytest.param(
            *("json_schema", {"type": "integer", "multipleOf": 999_983}, "more than"),
            marks=pytest.mark.exhaustive,  # takes all the time that there is, like that of regexes
        ),
        ("lark", 'start: "a" <|end|> <[7]>', None),
        ("lark", 'start: "not a grammar', None),
        ("lark", "start: T\nT: " + " & ".join(f"/.*{i}.*/" for i in range(300)), "more than"),
        ("gbnf", "root ::= " + '("a" ' * 5_000 + ")?" * 5_000, "nested too deeply"),
        ("regex", "(a|b)*a(a|b){500}", None),
        ("regex", "a\n\u2028\U0001f525", None),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_takes_too_much_is_refused(
    sandbox: GrammarSandbox, kind: GrammarKind, source: Any, reason: str | None
) -> None:
    found = sandbox.run(grammar(kind, source))

    assert (found is None) if reason is None else (reason in (found or ""))


@pytest.mark.slow
def test_one_at_a_time_may_be_asked_for_by_many(sandbox: GrammarSandbox) -> None:
    good, bad = grammar("regex", "a"), grammar("json_schema", chain(20_000))

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(sandbox.run, [good, bad] * 8))

    assert [reason is None for reason in found] == [True, False] * 8


@pytest.mark.slow
def test_it_starts_again_after_its_end() -> None:
    sandbox = GrammarSandbox(1280, {})
    before = set(psutil.Process().children())
    assert sandbox.run(grammar("regex", "a")) is None
    (process,) = set(psutil.Process().children()) - before

    process.send_signal(signal.SIGKILL)
    process.wait()

    with pytest.raises(RuntimeError, match="ended"):
        sandbox.run(grammar("regex", "a"))
    assert sandbox.run(grammar("regex", "a")) is None


def test_its_process_ends_with_it() -> None:
    sandbox = GrammarSandbox(1280, {})
    before = set(psutil.Process().children())
    sandbox.run(grammar("regex", "a"))
    (process,) = set(psutil.Process().children()) - before

    del sandbox

    assert not process.is_running()
