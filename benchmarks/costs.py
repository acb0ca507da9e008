"""``python -m benchmarks.costs``: the tables of docs/costs.md, from prices and a measured speed.

Prices are in prices.toml, the formulas in pricing.py; the speeds are those of docs/performance.md,
or others by ``--rates``.
"""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from benchmarks import conversation_cost
from benchmarks.conversation_cost import RESTORE_SECONDS, Conversation
from benchmarks.pricing import (
    DEFAULT,
    HOUR,
    INIT_SECONDS,
    LOG_BYTES,
    MB_PER_VCPU,
    METRICS,
    MODEL_GB,
    N_ALARM_METRICS,
    ONE_THREAD,
    PAGE_IN_MB,
    PRICES,
    STORED_WRITE_UNITS,
    Measured,
    authorization,
    capacity,
    cold_share,
    lambda_month,
    lambda_second,
    machine_month,
    modal_month,
    modal_second,
    one_thread,
    page_in,
    provisioned_month,
    refusal,
    restore,
    snapshot_month,
)

_LOADS = (1_000, 10_000, 100_000, 300_000, 1_000_000, 2_500_000)
"""Requests a month."""
_SUMMARY_LOADS = (1_000, 100_000, 1_000_000)


def summary(measured: Measured) -> str:
    """The month's bill of each platform and endpoint, for who only wants to know that."""
    rows: list[tuple[str, Callable[[float], float]]] = [
        *(
            (label, partial(lambda_month, measured, snapstart=snapstart, endpoint=endpoint))
            for label, endpoint, snapstart in (
                ("Lambda, as the template has it (`rest-api`)", "rest-api", False),
                ("Lambda, `http-api`", "http-api", False),
                ("Lambda, `function-url`", "function-url", False),
                ("Lambda with SnapStart", "rest-api", True),
            )
        ),
        ("Lambda, one environment always there", partial(provisioned_month, measured)),
        ("Modal with an L4", lambda requests: modal_month("L4", requests, measured)),
        ("a machine that always runs (c7i.large)", lambda _: machine_month("c7i.large")),
    ]
    header = ("where", "idle", *(f"{requests:,} requests" for requests in _SUMMARY_LOADS))
    return _table(
        header,
        [
            (label, *(_dollars(month(requests)) for requests in (0, *_SUMMARY_LOADS)))
            for label, month in rows
        ],
    )


def per_million(measured: Measured) -> str:
    """Dollars per million tokens, by where and how full."""
    second = lambda_second(measured.memory)
    arm = lambda_second(measured.memory, "arm64")
    hour = PRICES["ec2"]["hour"]["c7i.large"]
    size = f"{measured.memory:,} MB"
    rows = [
        _rate_row(measured, f"Lambda, {size}, a request at a time", measured.on_lambda, second),
        _rate_row(measured, "the same on arm64, if it is as fast there", measured.on_lambda, arm),
    ]
    for streams, rate in measured.rates.items():
        label = (
            f"c7i.large, {streams} streams at all times"
            if streams > 1
            else ("c7i.large, one stream at all times")
        )
        rows.append(_rate_row(measured, label, rate, hour / HOUR))
    for share in (0.5, 0.1, 0.01):
        label = f"c7i.large, {share:.0%} of what it can do"
        rows.append(_rate_row(measured, label, measured.full * share, hour / HOUR))
    return _table(
        ("where", "tokens/s", "$ per million completion tokens", "$, prompts counted"), rows
    )


def _rate_row(measured: Measured, label: str, rate: float, second: float) -> tuple[str, ...]:
    completion = second / rate * 1e6
    all_tokens = measured.prompt_tokens + measured.completion_tokens
    return (
        label,
        f"{rate:.1f}",
        _dollars(completion),
        _dollars(completion * measured.completion_tokens / all_tokens),
    )


def builds(measured: Measured) -> str:
    """Seconds of one thread for a request, by what llama.cpp is compiled for."""
    rows = []
    for build, (prompt, decode) in ONE_THREAD.items():
        seconds = (
            one_thread(build, prompts, measured.completion_tokens)
            for prompts in (measured.prompt_tokens, 1000)
        )
        rows.append((build, f"{prompt:.1f}", f"{decode:.1f}", *(f"{each:.1f}" for each in seconds)))
    header = (
        *("one thread with", "tokens/s of prompts", "decoding"),
        f"s for {measured.prompt_tokens} + {measured.completion_tokens} tokens",
        f"s for 1,000 + {measured.completion_tokens}",
    )
    return _table(header, rows)


def request_parts(measured: Measured) -> str:
    """What one request consists of, on Lambda."""
    prices = PRICES
    units = STORED_WRITE_UNITS * prices["dynamodb"]["write_unit"]
    parts = (
        (
            f"{measured.seconds:.2f} s of {measured.memory:,} MB",
            measured.seconds * lambda_second(measured.memory),
        ),
        ("the invocation", prices["lambda"]["request"]),
        ("REST API", prices["api_gateway"]["rest_api_request"]),
        (
            "HTTP API in its place; a function URL costs nothing",
            prices["api_gateway"]["http_api_request"],
        ),
        ("the authorizer, at most", authorization(is_cold=False)),
        (f"{LOG_BYTES / 1000:.1f} KB of logs", LOG_BYTES / 1e9 * prices["cloudwatch"]["logs_gb"]),
        ("stored, with three metadata pairs", units + prices["s3"]["put"]),
        ("traced", prices["xray"]["trace"]),
        ("cold, restored from a snapshot", restore(measured.memory)),
        (
            f"and {MODEL_GB} GB of it read, at {PAGE_IN_MB} MB/s (assumed)",
            page_in(measured),
        ),
        (
            f"cold, initialized in {INIT_SECONDS:.0f} s (assumed)",
            INIT_SECONDS * lambda_second(measured.memory),
        ),
    )
    return _table(
        ("part", "$ per million"), [(label, f"{1e6 * each:,.2f}") for label, each in parts]
    )


def memory_sizes(measured: Measured) -> str:
    """Dollars per million completion tokens by a function's memory, at best and at worst."""
    rows = []
    for memory in (MB_PER_VCPU, 3008, measured.memory, 5307, 10240):
        ratio = memory / measured.memory
        price = lambda_second(memory) * 1e6
        worst = _dollars(price / measured.on_lambda) if ratio >= 1 else "-"
        rows.append(
            (
                f"{memory:,}",
                f"{memory / MB_PER_VCPU:.1f}",
                f"{measured.on_lambda * ratio:.1f}",
                _dollars(price / (measured.on_lambda * ratio)),
                worst,
            )
        )
    header = ("MB", "vCPUs", "tokens/s if all help", "$ if all help", "$ if more don't help")
    return _table(header, rows)


def model_sizes(measured: Measured) -> str:
    """Larger models, as far as time grows with what is read for each token."""
    rows = []
    hour = PRICES["ec2"]["hour"]["c7i.large"]
    for size in (MODEL_GB, 1.0, 2.0, 4.0):
        ratio = size / MODEL_GB
        rate = measured.on_lambda / ratio
        rows.append(
            (
                f"{size:g}",
                f"{rate:.1f}",
                f"{measured.completion_tokens / rate:.0f}",
                _dollars(lambda_second(measured.memory) / rate * 1e6),
                _dollars(hour / HOUR / (measured.full / ratio) * 1e6),
            )
        )
    header = ("GB", "tokens/s alone", "s for an answer", "Lambda, $/M", "machine, full batch, $/M")
    return _table(header, rows)


def monthly(measured: Measured) -> str:
    """The month's bill by load."""
    rows = []
    for requests in _LOADS:
        machines = math.ceil(requests / capacity(measured))
        rows.append(
            (
                f"{requests:,}",
                f"{requests * measured.completion_tokens / 1e6:,.1f}",
                f"{cold_share(requests):.0%}",
                _dollars(lambda_month(measured, requests, snapstart=False)),
                _dollars(lambda_month(measured, requests, snapstart=True)),
                _dollars(modal_month("L4", requests, measured)),
                _dollars(machines * machine_month("c7i.large")),
                _dollars(machine_month("g6.xlarge")),
            )
        )
    header = (
        *("requests", "million tokens", "cold", "Lambda", "Lambda, SnapStart"),
        *("Modal, L4", "c7i.large", "g6.xlarge (L4)"),
    )
    return _table(header, rows)


def idle(measured: Measured) -> str:
    """Dollars a month without a single request."""
    cloudwatch = PRICES["cloudwatch"]
    rows = [
        ("Lambda without SnapStart", 0.0),
        (
            f"Lambda with SnapStart, one function of {measured.memory:,} MB",
            snapshot_month(measured),
        ),
        (
            f"the template's {N_ALARM_METRICS} alarm metrics; an account's first 10 are free",
            N_ALARM_METRICS * cloudwatch["alarm_month"],
        ),
        ("its dashboard; an account's first 3 are free", cloudwatch["dashboard_month"]),
        ("Modal, `min_containers` 0", 0.0),
        *((f"EC2 {name}", machine_month(name)) for name in PRICES["ec2"]["hour"]),
    ]
    return _table(("what", "$ a month"), [(label, _dollars(each)) for label, each in rows])


def break_even(measured: Measured) -> str:
    """From how many requests a month on a machine that always runs is cheaper."""
    rows = []
    for machine in ("c7i.large", "c7i.2xlarge", "g6.xlarge"):
        month = machine_month(machine)
        counts = [
            _crossing(measured, month, snapstart=False),
            _crossing(measured, month, snapstart=True),
        ]
        rows.append(
            (
                machine,
                _dollars(month),
                *(f"{count:,.0f}" for count in counts),
                f"{counts[0] / 30.4:,.0f}",
            )
        )
    header = ("machine", "$ a month", "Lambda", "Lambda, SnapStart", "Lambda, a day")
    return _table(header, rows)


def _crossing(measured: Measured, dollars: float, *, snapstart: bool) -> float:
    """The load at which Lambda costs ``dollars`` a month, to a thousand requests."""
    low, high = 0.0, 1e9
    while high - low > 1:
        middle = (low + high) / 2
        if lambda_month(measured, middle, snapstart=snapstart) < dollars:
            low = middle
        else:
            high = middle
    return round(low, -3)


def gpus(measured: Measured) -> str:
    """What a GPU costs by the second, and how fast it must be to be worth it."""
    per_token = lambda_second(measured.memory) / measured.on_lambda
    twins = {"T4": "g4dn.xlarge", "L4": "g6.xlarge", "A10": "g5.xlarge", "H100": "p5.4xlarge"}
    rows = []
    for gpu, machine in twins.items():
        second = modal_second(gpu)
        hour = PRICES["ec2"]["hour"][machine]
        rows.append(
            (
                gpu,
                f"{second * HOUR:.2f}",
                *(_dollars(second / rate * 1e6) for rate in (100, 500, 2000)),
                f"{second / per_token:,.0f}",
                f"{machine}, {hour:.2f}",
                f"{hours:.1f}" if (hours := 24 * hour / (second * HOUR)) < 24 else "always cheaper",
            )
        )
    header = (
        *("GPU", "Modal, $/h", "$/M at 100 tokens/s", "at 500", "at 2,000"),
        *("tokens/s to equal Lambda", "EC2, $/h", "hours a day to equal EC2"),
    )
    return _table(header, rows)


def attacks() -> str:
    """Dollars for ten million requests with wrong keys, by what refuses them."""
    n = 10_000_000
    rest = PRICES["api_gateway"]["rest_api_request"]
    health = rest + PRICES["lambda"]["request"] + LOG_BYTES / 1e9 * PRICES["cloudwatch"]["logs_gb"]
    rows = [
        ("no gate (`function-url`)", refusal(is_cold=False), refusal(is_cold=True)),
        (
            "the same with SnapStart",
            refusal(is_cold=False, snapstart=True),
            refusal(is_cold=True, snapstart=True),
        ),
        (
            "gate, each key another one",
            authorization(is_cold=False),
            authorization(is_cold=True),
        ),
        ("gate, the same key again", 0.0, 0.0),
        ("gate, no key", 0.0, 0.0),
        ("gate, `GET /health`, which needs none", health, health),
    ]
    return _table(
        ("ten million requests", "$ if all find an environment", "$ if each one starts its own"),
        [(label, *(f"{n * each:,.0f}" for each in dollars)) for label, *dollars in rows],
    )


def metrics() -> str:
    """What CloudWatch's metrics cost, by how many hours have requests."""
    price = PRICES["cloudwatch"]["metric_month"]
    rows = []
    for label, services in (("inference", ("inference",)), ("both", tuple(METRICS))):
        count = sum(METRICS[service] for service in services)
        cells = (_dollars(count * price * share) for share in (0.1, 0.5, 1))
        rows.append((label, str(count), *cells))
    return _table(("services", "metrics", "10 % of the hours", "50 %", "all"), rows)


def conversations(measured: Measured) -> str:
    """A thousand conversations, by what each turn finds of those before it."""
    talk = Conversation()
    restoring = RESTORE_SECONDS * (talk.turns - 1)
    rows = []
    for label, evaluated, waiting, stored in (
        ("in another environment", talk.evaluated_anew, 0.0, 0.0),
        (
            "in another environment, prefixes in S3",
            talk.evaluated_behind_stored,
            restoring,
            conversation_cost.storing(talk),
        ),
        ("in the same environment, which has them in its KV cache", talk.evaluated_once, 0.0, 0.0),
    ):
        seconds = conversation_cost.seconds(measured, talk, evaluated) + waiting
        compute = conversation_cost.compute(measured, seconds)
        cells = (f"{evaluated:,}", f"{seconds:.1f}", _dollars(1000 * compute))
        rows.append((label, *cells, _dollars(1000 * stored), _dollars(1000 * (compute + stored))))
    header = ("each turn", "prompt tokens evaluated", "seconds", "$ of Lambda", "$ of S3", "$")
    return _table(header, rows)


def tables(measured: Measured = DEFAULT) -> Mapping[str, str]:
    """All tables, by what they are about."""
    return {
        "the month's bill": summary(measured),
        "Lambda's build": builds(measured),
        "dollars per million tokens": per_million(measured),
        "parts of a request on Lambda": request_parts(measured),
        "memory of a function": memory_sizes(measured),
        "size of a model (estimated)": model_sizes(measured),
        "ten turns of a conversation": conversations(measured),
        "a month": monthly(measured),
        "break-even": break_even(measured),
        "idle": idle(measured),
        "ten million requests with wrong keys": attacks(),
        "GPUs": gpus(measured),
        "metrics": metrics(),
    }


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


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (header, *rows)]
    return "\n".join([lines[0], "|---" * len(header) + "|", *lines[1:]])


def _dollars(amount: float) -> str:
    return f"{amount:,.2f}" if amount < 1000 else f"{amount:,.0f}"


if __name__ == "__main__":
    main()
