"""Bills of a month, by load and by platform, as tables."""

import math
from collections.abc import Callable
from functools import partial

from benchmarks.costs.markdown import dollars, table
from benchmarks.costs.pricing import (
    N_ALARM_METRICS,
    PRICES,
    Measured,
    capacity,
    cold_share,
    lambda_month,
    machine_month,
    modal_month,
    provisioned_month,
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
    return table(
        header,
        [
            (label, *(dollars(month(requests)) for requests in (0, *_SUMMARY_LOADS)))
            for label, month in rows
        ],
    )


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
                dollars(lambda_month(measured, requests, snapstart=False)),
                dollars(lambda_month(measured, requests, snapstart=True)),
                dollars(modal_month("L4", requests, measured)),
                dollars(machines * machine_month("c7i.large")),
                dollars(machine_month("g6.xlarge")),
            )
        )
    header = (
        *("requests", "million tokens", "cold", "Lambda", "Lambda, SnapStart"),
        *("Modal, L4", "c7i.large", "g6.xlarge (L4)"),
    )
    return table(header, rows)


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
    return table(("what", "$ a month"), [(label, dollars(each)) for label, each in rows])


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
                dollars(month),
                *(f"{count:,.0f}" for count in counts),
                f"{counts[0] / 30.4:,.0f}",
            )
        )
    header = ("machine", "$ a month", "Lambda", "Lambda, SnapStart", "Lambda, a day")
    return table(header, rows)


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
