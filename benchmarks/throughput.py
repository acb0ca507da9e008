"""Tokens per second and latencies of N concurrent streams on the 0.5 B model."""

import sys
from collections.abc import Iterator

from benchmarks.metrics import Sample, Stopwatch, first_error, stream_metrics
from benchmarks.peers import Peer
from benchmarks.process import ServerError
from benchmarks.scenario import Options, Target, target

SUITE = "throughput"

PROMPT_WORDS = 100

_MINIMUM_REQUESTS = 4
"""One stream alone sends this many, one after the other: a single request is too short to time."""


def measure(peer: Peer, options: Options, round_number: int) -> Iterator[Sample]:
    """Yield a sample for each number of streams. The server starts anew for every round."""
    scenarios = [_scenario(streams) for streams in options.streams]
    try:
        with target(
            peer,
            options.model,
            options.threads,
            options.logs,
            seed=round_number,
            prompt_words=PROMPT_WORDS,
            ends=False,
        ) as running:
            for streams, scenario in zip(options.streams, scenarios, strict=True):
                metrics, error = _streams(running, streams, options)
                yield Sample(SUITE, peer.name, scenario, round_number, metrics, error)
    except ServerError as error:
        print(f"  {peer.name}: {error}", file=sys.stderr, flush=True)
        for scenario in scenarios:
            yield Sample(SUITE, peer.name, scenario, round_number, error=str(error))


def _streams(
    running: Target, streams: int, options: Options
) -> tuple[dict[str, float], str | None]:
    count = max(_MINIMUM_REQUESTS, options.waves * streams)
    requests = [running.request(options.tokens, stream=True) for _ in range(count)]
    stopwatch = Stopwatch()
    exchanges = running.load(iter(requests), clients=streams)
    if error := first_error(exchanges):
        return {}, error
    return stream_metrics(exchanges, options.tokens) | {
        "client_cores": stopwatch.client_cores()
    }, None


def _scenario(streams: int) -> str:
    return f"{streams} stream{'s' if streams > 1 else ''}"
