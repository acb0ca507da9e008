"""``python -m benchmarks``: every contestant in turn, round after round, and a table at the end."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks import (
    CACHE_DIRECTORY,
    coldstart,
    grammars,
    machine,
    metering,
    overhead,
    prefixes,
    report,
    speculation,
    storing,
    throughput,
    upstreams,
)
from benchmarks.make_model import DEFAULT_SHAPE, SHAPES, ensure_model, model_path
from benchmarks.metrics import Sample
from benchmarks.peers import CONTESTANTS, ClientAlone, Peer, contestants
from benchmarks.scenario import Options

BUILTIN_MODEL = Path(__file__).parent.parent / "shared" / "models" / "builtin.gguf"

_SUITES: dict[str, Callable[[Peer, Options, int], Iterator[Sample]]] = {
    throughput.SUITE: throughput.measure,
    overhead.SUITE: overhead.measure,
    coldstart.SUITE: coldstart.measure,
}


_ALL = [
    *_SUITES,
    *(storing.SUITE, metering.SUITE, upstreams.SUITE, prefixes.SUITE, grammars.SUITE),
    speculation.SUITE,
]
_USE_MODEL = {throughput.SUITE, coldstart.SUITE, prefixes.SUITE, grammars.SUITE}


def main() -> None:
    """Parse the command line, run, print the report."""
    parser = _parser()
    arguments = parser.parse_args()
    chosen = arguments.only or _ALL
    suites = [suite for suite in chosen if suite in _SUITES]
    if overhead.SUITE in suites and not arguments.overhead_model.exists():
        parser.error(f"{arguments.overhead_model} is missing: name one with --overhead-model")
    # So that a terminated benchmark stops the server it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    options = _options(arguments)
    description = machine.describe(options.threads)
    try:
        peers = contestants(arguments.peers, options.logs) if suites else []
    except ValueError as error:
        parser.error(str(error))
    if arguments.model is None and _USE_MODEL & set(chosen):
        ensure_model(arguments.shape)
    samples = list(_run(suites, peers, options))
    print(report.markdown(samples, description))
    for suite in (storing, metering):
        if suite.SUITE in chosen:
            model, threads = arguments.overhead_model, options.overhead_threads
            print(suite.markdown(model, options.rounds, threads))
    if grammars.SUITE in chosen:
        print(grammars.markdown(options.model, options.rounds, options.threads))
    if prefixes.SUITE in chosen:
        print(prefixes.markdown(options.model, options.rounds, options.threads, options.logs))
    if speculation.SUITE in chosen:
        binary = os.environ.get("LLAMA_SERVER")
        print(
            speculation.markdown(
                options.rounds, options.threads, options.logs, binary, arguments.shape
            )
        )
    if upstreams.SUITE in chosen:
        print(upstreams.markdown(options.rounds))
    if arguments.json:
        arguments.json.write_text(report.as_json(samples, description))


def _run(suites: Sequence[str], peers: Sequence[Peer], options: Options) -> Iterator[Sample]:
    """Alternate: a machine's speed drifts, and the ratios shall not drift with it.

    Each round begins with another contestant, since the first one finds the machine rested.
    """
    for round_number in range(options.rounds):
        for suite in suites:
            field = [*peers, ClientAlone()] if suite == overhead.SUITE else list(peers)
            first = round_number % len(field)
            for peer in field[first:] + field[:first]:
                _say(f"round {round_number + 1}/{options.rounds}  {suite}  {peer.name}")
                for sample in _SUITES[suite](peer, options, round_number):
                    _say(f"  {sample.scenario}: {_summary(sample)}")
                    yield sample


def _summary(sample: Sample) -> str:
    if sample.error:
        return f"fails: {sample.error}"
    return "  ".join(f"{name} {value:.4g}" for name, value in sample.metrics.items())


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _options(arguments: argparse.Namespace) -> Options:
    logs = CACHE_DIRECTORY / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    return Options(
        model=arguments.model or model_path(arguments.shape),
        overhead_model=arguments.overhead_model,
        rounds=arguments.rounds,
        streams=arguments.streams,
        tokens=arguments.tokens,
        waves=arguments.waves,
        seconds=arguments.seconds,
        threads=arguments.threads,
        overhead_threads=arguments.overhead_threads,
        logs=logs,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure pilotlight side by side with other servers on the same models.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--only",
        nargs="+",
        choices=_ALL,
        help="run only these suites",
    )
    add("--peers", type=_names, default=CONTESTANTS, help="contestants, separated by commas")
    add("--rounds", type=int, default=3, help="rounds; the tables give medians")
    streams = (1, 3, 4, 5, 7, 8, 11, 16)
    add("--streams", type=_counts, default=streams, help="numbers of concurrent streams")
    add("--tokens", type=int, default=64, help="tokens generated per stream (throughput)")
    add(
        "--waves", type=int, default=2, help="requests per stream, one after the other (throughput)"
    )
    add("--seconds", type=float, default=3.0, help="length of each scenario (overhead)")
    add("--threads", type=int, default=len(os.sched_getaffinity(0)), help="threads per server")
    add("--overhead-threads", type=int, default=1, help="the same for the tiny model")
    add("--model", type=Path, help="model for throughput and cold start, instead of a made one")
    add("--shape", choices=SHAPES, default=DEFAULT_SHAPE, help="parameters of a made model")
    add("--overhead-model", type=Path, default=BUILTIN_MODEL, help="tiny model for overhead")
    add("--json", type=Path, metavar="FILE", help="also write every sample to FILE")
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _counts(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


if __name__ == "__main__":
    main()
