"""What the suites share: their options, the requests they send, a server with its warm-up."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gguf import GGUFReader, TokenType

from benchmarks import client
from benchmarks.client import Exchange
from benchmarks.metrics import first_error
from benchmarks.peers import MODEL_NAME, Launch, Peer
from benchmarks.process import HOST, ServerError, free_port, serving
from benchmarks.prompts import Prompts

SLOTS = 16
"""Sequences every server may run at once."""

SLOT_CONTEXT = 512
"""Tokens of context for each of them."""

TIMEOUT = 240.0
"""Seconds for one scenario. A server that answers one request at a time needs most of it."""


@dataclass(frozen=True)
class Options:
    """What to run; see ``python -m benchmarks --help``."""

    model: Path
    overhead_model: Path
    rounds: int
    streams: tuple[int, ...]
    tokens: int
    waves: int
    seconds: float
    threads: int
    overhead_threads: int
    """A tiny model gains nothing from a second thread, which then waits on a core others need."""
    logs: Path


@dataclass
class Target:
    """A running server, and the next request for it."""

    peer: Peer
    port: int
    prompts: Prompts
    prompt_words: int
    end_tokens: tuple[int, ...]

    def request(self, tokens: int, *, stream: bool) -> bytes:
        """The bytes of the next request, for exactly ``tokens`` tokens."""
        body: dict[str, object] = {
            "model": MODEL_NAME,
            "prompt": self.prompts.next(self.prompt_words),
            "max_tokens": tokens,
            "stream": stream,
            "seed": self.prompts.given,
            **self.peer.sampling(self.end_tokens),
        }
        if stream:
            body["stream_options"] = {"include_usage": False}
        return client.http_request(self.port, body)

    def load(self, requests: Iterator[bytes], clients: int) -> list[Exchange]:
        """Send ``requests`` from ``clients`` clients in a closed loop."""
        return client.run(client.closed_loop(HOST, self.port, requests, clients, TIMEOUT))


@contextmanager
def target(
    peer: Peer,
    model: Path,
    threads: int,
    logs: Path,
    *,
    seed: int,
    prompt_words: int,
    ends: bool,
) -> Iterator[Target]:
    """Serve ``model`` with ``peer``, warmed up.

    ``ends`` says whether the model would end by itself. Raises ``ServerError`` if the server
    doesn't start or doesn't do what it is asked.
    """
    launch = Launch(model, free_port(), SLOTS, SLOT_CONTEXT, threads)
    with serving(peer, launch, logs):
        end_tokens = _control_tokens(model) if ends else ()
        running = Target(peer, launch.port, Prompts(seed), prompt_words, end_tokens)
        _warm_up(running)
        yield running


def _warm_up(running: Target, tokens: int = 8) -> None:
    """Touch all memory and code once, and check that the server generates what it is asked for."""
    (alone,) = running.load(iter([running.request(tokens, stream=False)]), clients=1)
    if alone.error:
        raise ServerError(alone.error)
    _, _, body = alone.body.partition(b"\r\n\r\n")
    generated = _completion_tokens(body)
    if generated not in (None, tokens):
        raise ServerError(f"generated {generated} tokens instead of {tokens}")
    together = running.load(
        iter([running.request(tokens, stream=True) for _ in range(SLOTS)]), clients=SLOTS
    )
    if error := first_error(together):
        print(f"  {running.peer.name}: {error} (warming up)", file=sys.stderr, flush=True)


def _completion_tokens(body: bytes) -> int | None:
    """``usage.completion_tokens`` of a response that may be chunked; None if there is no usage."""
    start, end = body.find(b"{"), body.rfind(b"}")
    usage = json.loads(body[start : end + 1]).get("usage")
    return None if usage is None else int(usage["completion_tokens"])


def _control_tokens(model: Path) -> tuple[int, ...]:
    """Ids of all control tokens: any of them may end generation, whatever the file says of eos."""
    field = GGUFReader(model).get_field("tokenizer.ggml.token_type")
    if field is None:
        raise ValueError(f"{model} has no token types")
    return tuple(token for token, kind in enumerate(field.contents()) if kind == TokenType.CONTROL)
