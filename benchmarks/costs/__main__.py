"""``python -m benchmarks.costs``: the tables of docs/costs.md, from prices and a measured speed.

Prices are in prices.toml, the formulas in pricing.py; the speeds are those of docs/performance, or
others by ``--rates``.
"""

import argparse

from benchmarks.costs.pricing import DEFAULT, Measured
from benchmarks.costs.tables import tables


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--rates",
        nargs="+",
        metavar="STREAMS=TOKENS/S",
        default=[f"{streams}={rate}" for streams, rate in DEFAULT.rates.items()],
        help="measured completion tokens/s of all streams together",
    )
    parser.add_argument("--vcpus", type=int, default=DEFAULT.vcpus)
    parser.add_argument("--prompt-tokens", type=int, default=DEFAULT.prompt_tokens)
    parser.add_argument("--completion-tokens", type=int, default=DEFAULT.completion_tokens)
    arguments = parser.parse_args()
    rates = dict(pair.split("=", 1) for pair in arguments.rates)
    measured = Measured(
        {int(streams): float(rate) for streams, rate in rates.items()},
        arguments.vcpus,
        arguments.prompt_tokens,
        arguments.completion_tokens,
    )
    for about, table in tables(measured).items():
        print(f"\n{about}\n\n{table}")


if __name__ == "__main__":
    main()
