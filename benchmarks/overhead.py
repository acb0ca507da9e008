"""What a server costs besides the model: events and requests per second with a tiny model."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.cut_model import ensure_cut_model
from benchmarks.metrics import Sample, Stopwatch, first_error, request_metrics, stream_metrics
from benchmarks.peers import Peer
from benchmarks.process import ServerError
from benchmarks.scenario import SLOTS, Options, Target, target

SUITE = "overhead"

STREAM_TOKENS = 256

PROMPT_WORDS = 4
"""Short: prefill is the model's work."""

_SCENARIOS = (
    ("events, 1 stream", 1, True),
    (f"events, {SLOTS} streams", SLOTS, True),
    ("requests, 1 client", 1, False),
    (f"requests, {SLOTS} clients", SLOTS, False),
)


def measure(peer: Peer, options: Options, round_number: int) -> Iterator[Sample]:
    """Yield a sample for each scenario and model. The server starts anew for every round."""
    models = {"built-in model": options.overhead_model, "one layer": ensure_cut_model()}
    for label, model in models.items():
        yield from _measure(peer, options, round_number, label, model)


def _measure(
    peer: Peer, options: Options, round_number: int, label: str, model: Path
) -> Iterator[Sample]:
    try:
        with target(
            peer,
            model,
            options.overhead_threads,
            options.logs,
            seed=round_number,
            prompt_words=PROMPT_WORDS,
            ends=True,
        ) as running:
            for scenario, clients, stream in _SCENARIOS:
                metrics, error = _closed_loop(running, clients, options.seconds, stream=stream)
                name = f"{label}: {scenario}"
                yield Sample(SUITE, peer.name, name, round_number, metrics, error)
    except ServerError as error:
        print(f"  {peer.name}: {error}", file=sys.stderr, flush=True)
        for scenario, _, _ in _SCENARIOS:
            name = f"{label}: {scenario}"
            yield Sample(SUITE, peer.name, name, round_number, error=str(error))


def _closed_loop(
    running: Target, clients: int, seconds: float, *, stream: bool
) -> tuple[dict[str, float], str | None]:
    """Send for ``seconds``, then let the last requests end; the rate is over all of it."""
    tokens = STREAM_TOKENS if stream else 1
    stopwatch = Stopwatch()
    requests = _until(time.perf_counter() + seconds, running, tokens, stream=stream)
    exchanges = running.load(requests, clients)
    if error := first_error(exchanges):
        return {}, error
    metrics = stream_metrics(exchanges, tokens) if stream else request_metrics(exchanges)
    return metrics | {"client_cores": stopwatch.client_cores()}, None


def _until(deadline: float, running: Target, tokens: int, *, stream: bool) -> Iterator[bytes]:
    while time.perf_counter() < deadline:
        yield running.request(tokens, stream=stream)
