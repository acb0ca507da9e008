"""From exchanges to figures."""

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.client import Exchange


@dataclass(frozen=True)
class Sample:
    """One contestant's figures in one scenario of one round, or why there are none."""

    suite: str
    contestant: str
    scenario: str
    round: int
    metrics: dict[str, float] = field(default_factory=dict)
    error: str | None = None


class Stopwatch:
    """Measures what the client itself spent on the CPU, to show that it wasn't the bottleneck."""

    def __init__(self) -> None:
        self.wall = time.perf_counter()
        self.cpu = time.process_time()

    def client_cores(self) -> float:
        """The client's share of one core since the start."""
        return (time.process_time() - self.cpu) / (time.perf_counter() - self.wall)


def first_error(exchanges: Iterable[Exchange]) -> str | None:
    """Why the first failed exchange failed, or None if none did."""
    return next((exchange.error for exchange in exchanges if exchange.error), None)


def stream_metrics(exchanges: Sequence[Exchange], tokens_each: int) -> dict[str, float]:
    """Figures of streamed requests that produced ``tokens_each`` tokens each. Times in seconds.

    Tokens and events differ: a token that ends inside a UTF-8 character has no event of its own.
    The inter-token latency is the gap between arrivals of one stream; events that come in one read
    are one arrival, since a reader sees them at once.
    """
    wall = _wall(exchanges)
    waits = [e.first_token - e.started for e in exchanges if e.first_token is not None]
    gaps = np.concatenate([np.diff(e.arrivals) for e in exchanges])
    metrics = {
        "tokens_per_s": tokens_each * len(exchanges) / wall,
        "events_per_s": sum(e.events for e in exchanges) / wall,
        "ttft_p50": _percentile(waits, 50),
        "ttft_p95": _percentile(waits, 95),
        "itl_p95": _percentile(gaps, 95),
    }
    return {name: value for name, value in metrics.items() if not math.isnan(value)}


def request_metrics(exchanges: Sequence[Exchange]) -> dict[str, float]:
    """Figures of requests that aren't streamed. Times in seconds."""
    latencies = [exchange.finished - exchange.started for exchange in exchanges]
    return {
        "requests_per_s": len(exchanges) / _wall(exchanges),
        "latency_p50": _percentile(latencies, 50),
        "latency_p95": _percentile(latencies, 95),
    }


def _wall(exchanges: Sequence[Exchange]) -> float:
    """Seconds from the first request sent to the last response's end."""
    return max(e.finished for e in exchanges) - min(e.started for e in exchanges)


def _percentile(
    values: Sequence[float] | np.ndarray[tuple[int], np.dtype[np.float64]], q: int
) -> float:
    return float(np.percentile(values, q)) if len(values) else float("nan")
