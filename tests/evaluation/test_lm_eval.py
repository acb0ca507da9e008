"""docs/evaluation.md: lm-eval's commands run, and its scores are the model's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.engine.llama.model import Model
from tests.engine.test_scoring import independent_logprobs
from tests.evaluation.lm_eval import Run, Scored, run
from tests.pages import examples
from tests.server import ServerProcess

pytestmark = pytest.mark.timeout(3600)
"""The first one waits for all of lm-eval's runs."""

COMMANDS = examples("evaluation.md")["lm-eval"]
PLAIN, TEMPLATE, CHAT = range(len(COMMANDS))


@pytest.fixture(scope="module")
def runs(
    lm_eval_directory: Path,
    tokenizer: Path,
    server: ServerProcess,
    tmp_path_factory: pytest.TempPathFactory,
) -> list[Run]:
    """What each of the page's commands gives."""
    return [
        run(command, lm_eval_directory, tokenizer, server, tmp_path_factory.mktemp("results"))
        for command in COMMANDS
    ]


@pytest.mark.parametrize("number", [PLAIN, TEMPLATE, CHAT])
def test_the_commands_print_what_the_page_says(runs: list[Run], number: int) -> None:
    assert COMMANDS[number].output
    assert COMMANDS[number].printed(runs[number].printed), runs[number].printed


@pytest.mark.parametrize("number", [PLAIN, TEMPLATE])
def test_the_choices_scores_are_the_models_own(
    runs: list[Run], vocabulary: Model, number: int
) -> None:
    choices = list(runs[number].choices("pilotlight_facts"))

    assert len(choices) == 80
    if number == PLAIN:
        assert {choice.is_greedy for choice in choices} == {True, False}
    for choice in choices:
        # lm-eval counts the white space that ends a context as part of what follows.
        context = vocabulary.tokenize(choice.context.rstrip(), add_special=False)
        check(vocabulary, choice, len(context))


def test_the_texts_scores_are_the_models_own(runs: list[Run], vocabulary: Model) -> None:
    texts = list(runs[PLAIN].texts("pilotlight_texts"))

    assert len(texts) == 5
    for text in texts:
        check(vocabulary, text, 0)


def check(model: Model, scored: Scored, n_context: int) -> None:
    """Compare with the logits of the model; without a context the text follows the BOS token."""
    tokens = model.tokenize(scored.context + scored.continuation, add_special=False)
    if n_context == 0:
        tokens, n_context = [model.bos, *tokens], 1
    logprobs = independent_logprobs(model, tokens)
    positions = range(n_context, len(tokens))
    expected = sum(logprobs[i - 1, tokens[i]] for i in positions)
    assert scored.logprob == pytest.approx(expected, abs=1e-3), scored
    if scored.is_greedy is not None:
        is_greedy = all(logprobs[i - 1].argmax() == tokens[i] for i in positions)
        assert scored.is_greedy == is_greedy, scored


def test_each_text_costs_one_prefill(runs: list[Run], vocabulary: Model) -> None:
    choices = list(runs[PLAIN].choices("pilotlight_facts"))
    texts = list(runs[PLAIN].texts("pilotlight_texts"))
    lengths = [
        len(vocabulary.tokenize(scored.context + scored.continuation, add_special=False))
        for scored in choices + texts
    ]
    n_tokens = sum(lengths) + len(texts)  # the BOS token before each of these

    counted = runs[PLAIN].counted

    assert counted["prompt_tokens_total"] == n_tokens
    assert counted["evaluated_tokens_total"] == n_tokens
    assert counted["steps_total"] <= len(lengths)
