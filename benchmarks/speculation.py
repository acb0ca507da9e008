"""Speculative decoding: answers that repeat their prompts, and answers that don't.

On a model that always says the same word behind a word (`successor_model`), so that prompts can
have in them what will be said, for all servers alike. A draft model knows most of it, and of some
words nothing. All servers run at once, each idle while another is asked: what else the machine does
hits them within the same seconds.
"""

import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from benchmarks import client
from benchmarks.client import Exchange
from benchmarks.metrics import first_error
from benchmarks.peers import MODEL_NAME, Launch, LlamaServer, Peer, Pilotlight
from benchmarks.process import HOST, cpu_seconds, free_port, serving
from benchmarks.successor_model import (
    KNOWN_PART,
    Successors,
    ensure_draft_model,
    ensure_model,
)

SUITE = "speculation"

_SLOTS = 16
_SLOT_CONTEXT = 1024
_TOKENS = 128
"""Tokens of an answer, where it is the only one."""
_TOKENS_OF_MANY = 48
_EDIT_EVERY = 20
"""Words of which one is replaced, left out, or has one before it, where a text is rewritten."""
_PASSAGE = 16
"""Words of a passage that is extracted."""
_TIMEOUT = 240.0
_PLAIN = "pilotlight, none"
_KINDS = ("", " of processor time")
_Rates = tuple[float, float]
"""Tokens per second, and per second of processor time, which others on the machine hardly change
where a server has one thread."""


@dataclass(frozen=True)
class _Task:
    """A prompt, and how long its answer is to be."""

    prompt: str
    n_tokens: int


class _Speculating(Pilotlight):
    """This project, with options of its own."""

    def __init__(self, name: str, *options: str) -> None:
        super().__init__()
        self.name = name
        self._options = options

    def command(self, launch: Launch) -> list[str]:
        return [*super().command(launch), *self._options]


class _Drafting(LlamaServer):
    """llama-server, with options of its own."""

    def __init__(self, name: str, binary: str, *options: str) -> None:
        super().__init__(name, binary)
        self._options = options

    def command(self, launch: Launch) -> list[str]:
        return [*super().command(launch), *self._options]


class _Writer:
    """Writes tasks, each about other words than all before it."""

    def __init__(self, seed: int) -> None:
        self._successors = Successors()
        self._random = random.Random(seed)
        n_words = len(self._successors.ids)
        self._n_known = int(KNOWN_PART * n_words)
        self._n_unknown = n_words - self._n_known
        self._next = self._random.randrange(n_words)

    def rewriting(self, n_tokens: int = _TOKENS) -> _Task:
        """A text with some words changed, to be written as it should be."""
        answer = self._said(n_tokens)
        text: list[str] = []
        for i, word in enumerate(answer[1:]):
            change = i // _EDIT_EVERY % 3 if i % _EDIT_EVERY == _EDIT_EVERY - 1 else None
            text += [] if change is None else self._said(1) if change < 2 else []
            text += [] if change in (0, 2) else [word]
        return self._task([*self._said(20), *text], answer)

    def extraction(self) -> _Task:
        """Passages of a longer text, in another order."""
        answer = self._said(_TOKENS)
        passages = [answer[i : i + _PASSAGE] for i in range(1, len(answer), _PASSAGE)]
        self._random.shuffle(passages)
        return self._task([w for each in passages for w in [*self._said(48), *each]], answer)

    def prose(self, n_tokens: int = _TOKENS, *, is_known: bool = True) -> _Task:
        """What the prompt has nothing of, but for three words now and then that go on otherwise.

        ``is_known``: whether the draft model knows these words.
        """
        answer = self._said(n_tokens, is_known=is_known)
        chances = [answer[i : i + 3] for i in range(5, len(answer), _EDIT_EVERY)]
        return self._task([w for each in chances for w in [*each, *self._said(20)]], answer)

    def _said(self, count: int, *, is_known: bool = True) -> list[str]:
        """Words that follow each other, the first one included."""
        n_words = (self._n_known if is_known else self._n_unknown) - count - 1
        start = self._next % n_words + (0 if is_known else self._n_known)
        self._next += count + 7
        return self._successors.words(start, count + 1)

    def _task(self, before: list[str], answer: list[str]) -> _Task:
        """``answer`` begins with the word that the prompt ends with."""
        return _Task("".join([*before, answer[0]]), len(answer) - 1)


def markdown(rounds: int, threads: int, logs: Path, llama_server: str | None, shape: str) -> str:
    """Tables of tokens per second, with their ratios to this server without drafts."""
    model = ensure_model(shape)
    peers = _peers(llama_server)
    measured: dict[tuple[str, str], list[_Rates]] = {}
    with ExitStack() as servers:
        running = {peer.name: _serve(servers, peer, model, threads, logs) for peer in peers}
        for round_number in range(rounds + 1):  # the first warms up
            for scenario, name, rates in _round(peers, running, round_number):
                print(f"  {scenario}  {name}: {rates}", file=sys.stderr, flush=True)
                if round_number:
                    measured.setdefault((scenario, name), []).append(rates)
    return "\n".join(_table(peers, measured, kind) for kind in (0, 1))


def _table(peers: Sequence[Peer], measured: dict[tuple[str, str], list[_Rates]], kind: int) -> str:
    rates = {key: [each[kind] for each in found] for key, found in measured.items()}
    scenarios = list(dict.fromkeys(scenario for scenario, _ in rates))
    lines = [
        f"## Speculative decoding, tokens per second{_KINDS[kind]}",
        "",
        "| | " + " | ".join(scenarios) + " |",
        "|---" * (len(scenarios) + 1) + "|",
    ]
    for peer in peers:
        cells = []
        for scenario in scenarios:
            own, plain = rates[scenario, peer.name], rates[scenario, _PLAIN]
            ratio = median(a / b for a, b in zip(own, plain, strict=True))
            cells.append(f"{median(own):.1f} ({ratio:.2f})")
        lines.append(f"| {peer.name} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _peers(llama_server: str | None) -> list[Peer]:
    draft = str(ensure_draft_model())
    peers: list[Peer] = [
        _Speculating(_PLAIN, "--spec-type", "none"),
        _Speculating("pilotlight", "--spec-type", "ngram-simple"),
        _Speculating("pilotlight, draft model", "--model-draft", draft),
        _Speculating(
            "pilotlight, both",
            *("--model-draft", draft, "--spec-type", "ngram-simple,draft-simple"),
        ),
    ]
    if llama_server:
        size = "--spec-ngram-simple-size"
        ngram = ("--spec-type", "ngram-simple")
        model = ("--spec-type", "draft-simple", "--model-draft", draft)
        peers += [
            _Drafting("llama-server", llama_server),
            _Drafting("llama-server, ngram-simple", llama_server, *ngram),
            _Drafting(
                "llama-server, ngram-simple of 3",
                *(llama_server, *ngram, f"{size}-n", "3", f"{size}-m", "16"),
            ),
            _Drafting("llama-server, draft model", llama_server, *model),
            _Drafting(
                "llama-server, draft model, drafts of 16",
                *(llama_server, *model, "--spec-draft-n-max", "16"),
            ),
        ]
    return peers


def _serve(
    servers: ExitStack, peer: Peer, model: Path, threads: int, logs: Path
) -> tuple[int, int]:
    """The port and the process id of a server that runs until the end."""
    launch = Launch(model, free_port(), _SLOTS, _SLOT_CONTEXT, threads)
    return launch.port, servers.enter_context(serving(peer, launch, logs))


def _round(
    peers: Sequence[Peer], running: dict[str, tuple[int, int]], number: int
) -> Iterator[tuple[str, str, _Rates]]:
    """Scenario, server and rates, of one round."""
    writer = _Writer(number)
    scenarios: list[tuple[str, list[_Task]]] = [
        ("rewriting", [writer.rewriting()]),
        ("extraction", [writer.extraction()]),
        ("prose", [writer.prose()]),
        ("prose unknown to the draft model", [writer.prose(is_known=False)]),
        ("rewriting, 4 streams", [writer.rewriting(_TOKENS_OF_MANY) for _ in range(4)]),
        ("prose, 16 streams", [writer.prose(_TOKENS_OF_MANY) for _ in range(_SLOTS)]),
    ]
    first = number % len(peers)
    for scenario, tasks in scenarios if number else scenarios[:1]:
        for peer in [*peers[first:], *peers[:first]]:
            yield scenario, peer.name, _rates(*running[peer.name], peer, tasks)


def _rates(port: int, pid: int, peer: Peer, tasks: Sequence[_Task]) -> _Rates:
    """Tokens of all answers by the time from their first ones to their ends.

    The prompts are evaluated before, and still in the cache.
    """
    _ask(port, peer, [replace(task, n_tokens=1) for task in tasks])
    cpu_before = cpu_seconds(pid)
    exchanges = _ask(port, peer, tasks)
    started = [each.first_token for each in exchanges if each.first_token is not None]
    ended = max(each.finished for each in exchanges)
    n_tokens = sum(task.n_tokens for task in tasks) - len(tasks)
    return n_tokens / (ended - min(started)), n_tokens / (cpu_seconds(pid) - cpu_before)


def _ask(port: int, peer: Peer, tasks: Sequence[_Task]) -> list[Exchange]:
    requests = [_request(port, peer, task) for task in tasks]
    exchanges: list[Exchange] = client.run(
        client.closed_loop(HOST, port, iter(requests), len(requests), _TIMEOUT)
    )
    if error := first_error(exchanges):
        sys.exit(f"{peer.name}: {error}")
    return exchanges


def _request(port: int, peer: Peer, task: _Task) -> bytes:
    body: dict[str, object] = {
        "model": MODEL_NAME,
        "prompt": task.prompt,
        "max_tokens": task.n_tokens,
        "stream": True,
        **peer.sampling(()),
        "temperature": 0,
    }
    return client.http_request(port, body)
