"""Dollars of requests on Lambda: their parts, conversations, attacks, metrics; as tables."""

from benchmarks.costs import conversation
from benchmarks.costs.conversation import RESTORE_SECONDS, Conversation
from benchmarks.costs.markdown import dollars, table
from benchmarks.costs.pricing import (
    INIT_SECONDS,
    LOG_BYTES,
    METRICS,
    MODEL_GB,
    PAGE_IN_MB,
    PRICES,
    STORED_WRITE_UNITS,
    Measured,
    authorization,
    lambda_second,
    page_in,
    refusal,
    restore,
)


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
    return table(
        ("part", "$ per million"), [(label, f"{1e6 * each:,.2f}") for label, each in parts]
    )


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
    return table(
        ("ten million requests", "$ if all find an environment", "$ if each one starts its own"),
        [(label, *(f"{n * each:,.0f}" for each in dollars)) for label, *dollars in rows],
    )


def metrics() -> str:
    """What CloudWatch's metrics cost, by how many hours have requests."""
    price = PRICES["cloudwatch"]["metric_month"]
    rows = []
    for label, services in (("inference", ("inference",)), ("both", tuple(METRICS))):
        count = sum(METRICS[service] for service in services)
        cells = (dollars(count * price * share) for share in (0.1, 0.5, 1))
        rows.append((label, str(count), *cells))
    return table(("services", "metrics", "10 % of the hours", "50 %", "all"), rows)


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
            conversation.storing(talk),
        ),
        ("in the same environment, which has them in its KV cache", talk.evaluated_once, 0.0, 0.0),
    ):
        seconds = conversation.seconds(measured, talk, evaluated) + waiting
        compute = conversation.compute(measured, seconds)
        cells = (f"{evaluated:,}", f"{seconds:.1f}", dollars(1000 * compute))
        rows.append((label, *cells, dollars(1000 * stored), dollars(1000 * (compute + stored))))
    header = ("each turn", "prompt tokens evaluated", "seconds", "$ of Lambda", "$ of S3", "$")
    return table(header, rows)
