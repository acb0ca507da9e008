"""Engine outputs as text completions: bodies and chunks."""

from __future__ import annotations

import pytest
from openai.types import Completion
from openai.types.completion_choice import Logprobs

from shared.engine.types import Output
from shared.protocol.openai.completions_format import TextStream, text_body
from shared.protocol.openai.echo import Echo
from tests.api.openai_types import text_chunks, text_completion
from tests.protocol.hand_made import END, HEAD, Vocabulary, finished, last, scored, usage

HELLO, WORLD, MARK = scored(0, -0.1, (0, -0.1)), scored(1, -0.2), scored(2, -0.3, (0, -0.2))
SPLIT = [scored(token, -0.1) for token in (3, 4, 5)]


def stream(
    *batches: list[Output],
    n_prompts: int = 1,
    n: int = 1,
    include_usage: bool = False,
    logprobs: bool = False,
) -> list[Completion]:
    """The chunks for outputs that come in ``batches``."""
    texts = Vocabulary() if logprobs else None
    text = TextStream(HEAD, n_prompts, n, include_usage=include_usage, texts=texts)
    raw = b"".join(text.format(batch) for batch in batches) + text.end()
    return text_chunks(raw.decode())


def columns(completion: Completion) -> Logprobs:
    """The first choice's log probabilities."""
    logprobs = completion.choices[0].logprobs
    assert logprobs is not None
    return logprobs


def test_a_body_holds_the_text_the_reason_and_the_head() -> None:
    body = text_body(HEAD, finished(Output(0, "Hel"), last(0, "lo", "length")), 1, None)
    completion = text_completion(body)
    choice = completion.choices[0]
    assert (choice.index, choice.text, choice.finish_reason) == (0, "Hello", "length")
    assert choice.logprobs is None
    assert (completion.id, completion.created, completion.model) == (
        "id-1",
        1_700_000_000,
        "test/model",
    )


def test_usage_counts_each_prompt_once() -> None:
    costs = [usage(10, 1, 3), usage(10, 9, 4), usage(20, 2, 5), usage(20, 19, 6)]
    outputs = [last(index, cost=cost) for index, cost in enumerate(costs)]
    total = text_completion(text_body(HEAD, finished(*outputs, n=4), 2, None)).usage
    chunks = stream(outputs, n_prompts=2, n=2, include_usage=True)
    assert total is not None
    assert total.prompt_tokens_details is not None
    assert (total.prompt_tokens, total.completion_tokens, total.total_tokens) == (30, 18, 48)
    assert total.prompt_tokens_details.cached_tokens == 3
    assert chunks[-1].usage == total
    assert chunks[-1].choices == []


def test_a_stream_ends_each_choice_with_its_reason() -> None:
    chunks = stream([Output(0, "a"), Output(1, "b")], [last(1, "B", "length"), last(0)], n=2)
    seen = [(c.choices[0].index, c.choices[0].text, c.choices[0].finish_reason) for c in chunks]
    assert seen == [
        (0, "a", None),
        (1, "b", None),
        (1, "B", None),
        (1, "", "length"),
        (0, "", "stop"),
    ]


def test_columns_have_an_entry_for_every_token() -> None:
    outputs = [Output(0, "Hello", [HELLO]), last(0, " world!", logprobs=[WORLD, MARK])]
    logprobs = columns(text_completion(text_body(HEAD, finished(*outputs), 1, Vocabulary())))
    assert logprobs.tokens == ["Hello", " world", "!"]
    assert logprobs.token_logprobs == [-0.1, -0.2, -0.3]
    assert logprobs.text_offset == [0, 5, 11]
    assert logprobs.top_logprobs is not None
    assert logprobs.top_logprobs[0] == {"Hello": -0.1}


def test_offsets_of_a_stream_count_from_the_beginning() -> None:
    chunks = stream(
        [Output(0, "Hello", [HELLO])],
        [Output(0, " world", [WORLD])],
        [last(0, "!", logprobs=[MARK])],
        logprobs=True,
    )
    offsets = [columns(chunk).text_offset for chunk in chunks if chunk.choices[0].logprobs]
    assert offsets == [[0], [5], [11]]


def test_control_tokens_do_not_move_offsets() -> None:
    outputs = [last(0, "Hello!", logprobs=[HELLO, scored(END, -0.5), MARK])]
    logprobs = columns(text_completion(text_body(HEAD, finished(*outputs), 1, Vocabulary())))
    assert logprobs.tokens == ["Hello", "<|end|>", "!"]
    assert logprobs.text_offset == [0, 5, 5]


def test_of_top_tokens_that_read_alike_the_likeliest_counts() -> None:
    """Byte tokens such as ``<0x41>`` read like the letter's own token.

    lm-eval takes the greatest top log probability for the greedy token's.
    """

    class Bytes(Vocabulary):
        PIECES = (b"A", b"A", b"B", *Vocabulary.PIECES[3:])

    outputs = [last(0, "B", logprobs=[scored(2, -2.0, (0, -0.2), (2, -2.0), (1, -9.0))])]
    logprobs = columns(text_completion(text_body(HEAD, finished(*outputs), 1, Bytes())))
    assert logprobs.top_logprobs == [{"A": -0.2, "B": -2.0}]


@pytest.mark.parametrize("streamed", [False, True])
def test_offsets_count_a_split_character_once(streamed: bool) -> None:
    outputs = [last(0, "你!", logprobs=[*SPLIT, MARK])]
    if streamed:
        logprobs = columns(stream(outputs, logprobs=True)[0])
    else:
        logprobs = columns(text_completion(text_body(HEAD, finished(*outputs), 1, Vocabulary())))
    assert logprobs.tokens == ["bytes:\\xe4", "bytes:\\xbd", "bytes:\\xa0", "!"]
    assert logprobs.text_offset is not None
    assert logprobs.text_offset[0] == 0
    assert logprobs.text_offset[3] == 1


@pytest.mark.parametrize(
    ("tokens", "offsets"), [((3, 3, 2), [0, 1, 2]), ((3, 4, 2), [0, 0, 1]), ((4, 3, 4), [0, 1, 1])]
)
def test_offsets_count_what_is_no_character_as_the_text_does(
    tokens: tuple[int, ...], offsets: list[int]
) -> None:
    text = b"".join(map(Vocabulary.PIECES.__getitem__, tokens)).decode("utf-8", "replace")
    outputs = [last(0, text, logprobs=[scored(token, -0.1) for token in tokens])]
    logprobs = columns(text_completion(text_body(HEAD, finished(*outputs), 1, Vocabulary())))
    assert logprobs.text_offset == offsets


@pytest.mark.parametrize(
    ("echo", "offsets"),
    [
        # SentencePiece's tokenizers put a space in front, which the text has not.
        (Echo("world!", (END, 1, 2), hides_first=True), [0, 0, 5, 6]),
        (Echo("world", (1,)), [0, 5]),
        (Echo(" world!", (1, 2)), [0, 6, 7]),
        # The prompt ends within a character, the completion begins with the text behind it.
        (Echo("Hello\ufffd", (0, 3)), [0, 5, 6]),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_offsets_behind_an_echoed_prompt_are_those_in_the_text(
    echo: Echo, offsets: list[int], streamed: bool
) -> None:
    scores = [scored(token, -0.1) for token in echo.tokens[1:]]
    output = last(0, "\ufffd", logprobs=[scored(4, -0.1)])
    output.prompt_logprobs = [None, *scores]
    if streamed:
        text = TextStream(HEAD, 1, 1, include_usage=False, texts=Vocabulary(), echoes=[echo])
        chunks = text_chunks((text.format([output]) + text.end()).decode())
        parts = [columns(chunk).text_offset for chunk in chunks if chunk.choices[0].logprobs]
        assert [offset for part in parts for offset in part or ()] == offsets
    else:
        body = text_body(HEAD, finished(output), 1, Vocabulary(), echoes=[echo])
        assert columns(text_completion(body)).text_offset == offsets


@pytest.mark.parametrize("text", ['"\\\n\t\x00', "你好 🔥", "\u2028"])
def test_any_text_survives_body_and_stream(text: str) -> None:
    completion = text_completion(text_body(HEAD, finished(last(text=text)), 1, None))
    chunks = stream([last(text=text)])
    assert completion.choices[0].text == text
    assert "".join(chunk.choices[0].text for chunk in chunks) == text
