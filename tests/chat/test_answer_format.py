"""What comes before, and what is, the answer, as each family's template has it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from shared.chat.answer_format import AnswerFormat
from shared.chat.template import ChatTemplate
from shared.engine.grammar.compiler import ConstraintCompiler
from shared.engine.grammar.grammar import combine, grammar
from shared.engine.llama.model import Model

FIXTURES = Path(__file__).parent / "templates"
HELLO = [{"role": "user", "content": "Hello"}]

Control = Callable[[str], int | None]


def no_control(_text: str) -> int | None:
    return None


@pytest.fixture(scope="module")
def builtin_template(vocabulary: Model) -> str:
    assert vocabulary.chat_template is not None
    return vocabulary.chat_template


def source(family: str, builtin: str) -> str:
    if family == "builtin":
        return builtin
    return (FIXTURES / f"{family}.jinja").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("family", "variables", "before"),
    [
        ("chatml", {}, "nothing"),
        ("llama3", {}, "nothing"),
        ("builtin", {}, "nothing"),
        ("builtin", {"enable_thinking": False}, "nothing"),
        ("builtin", {"enable_thinking": True}, "the rest of a thought"),
        ("qwen3", {}, "a thought or nothing"),
        ("qwen3", {"enable_thinking": True}, "a thought or nothing"),
        ("qwen3", {"enable_thinking": False}, "nothing"),
        ("deepseek-r1", {}, "the rest of a thought"),
    ],
)
def test_models_think_first_where_their_template_leaves_it_open(
    vocabulary: Model,
    builtin_template: str,
    family: str,
    variables: dict[str, bool],
    before: str,
) -> None:
    template = source(family, builtin_template)
    answers = AnswerFormat(template, no_control)
    prompt = ChatTemplate(template, bos_token="<s>", eos_token="</s>").render(
        HELLO, variables=variables
    )

    lark = answers.reasoning_grammar(prompt)

    accepted = {
        text
        for text in ("42", "So.</think>\n42", "<think>So.</think>42")
        if accepts(vocabulary, lark, text)
    }
    assert (
        accepted
        == {
            "nothing": {"42"},
            "a thought or nothing": {"42", "<think>So.</think>42"},
            "the rest of a thought": {"So.</think>\n42", "<think>So.</think>42"},
        }[before]
    )


def test_the_marks_of_reasoning_may_be_control_tokens(vocabulary: Model) -> None:
    (token,) = vocabulary.tokenize("<|im_start|>", add_special=False)
    answers = AnswerFormat(
        source("deepseek-r1", ""), lambda text: token if text == "</think>" else None
    )

    lark = answers.reasoning_grammar("<think>\n")

    assert answers.visible_tokens == {token}
    assert accepts(vocabulary, lark, "So.<|im_start|> 42")
    assert not accepts(vocabulary, lark, "So.</think> 42")


@pytest.mark.parametrize(
    ("begun", "is_thinking"),
    [
        ("", False),
        ("2 + 3", False),
        ("<think>\nI add", True),
        ("<think>\nI add.\n</think>\n\n2 + 3", False),
        ("<think>", True),
    ],
)
def test_a_thought_that_was_begun_goes_on(begun: str, is_thinking: bool) -> None:
    answers = AnswerFormat(source("qwen3", ""), no_control)
    prompt = f"<|im_start|>assistant\n{begun}"

    lark = answers.reasoning_grammar(prompt, begun)

    assert answers.is_thinking(prompt, begun) == is_thinking
    assert (lark is None) == (bool(begun) and not is_thinking), "no thought begins in mid-text"


def test_what_others_say_of_the_marks_opens_nothing() -> None:
    answers = AnswerFormat(source("qwen3", ""), no_control)

    assert not answers.is_thinking(
        "<|im_start|>user\nWhat is <think>?<|im_end|>\n<|im_start|>assistant\n"
    )


@cache
def compiler(model: Model) -> ConstraintCompiler:
    """One for all tests: its sandbox is a process."""
    return ConstraintCompiler(model)


def accepts(model: Model, lark: str | None, text: str) -> bool:
    """Whether ``text`` is what comes before an answer, and the answer 42."""
    answer = grammar("regex", "42")
    whole = answer if lark is None else combine(f"{lark}\nanswer: @answer", {"answer": answer})
    matcher = compiler(model).compile(whole).start()
    for token in model.tokenize(text, add_special=False, parse_special=True):
        if matcher.is_complete:
            return False
        matcher.accept(token)
        if matcher.error is not None:
            return False
    return matcher.is_complete
