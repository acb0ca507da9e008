"""What a request, a second or a month costs: formulas over prices.toml and a measured speed."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PRICES: Mapping[str, Any] = tomllib.loads(
    Path(__file__).with_name("prices.toml").read_text(encoding="utf-8")
)
HOUR = 3600.0
MONTH = 730 * HOUR
"""Seconds, as AWS's calculator has them."""
MB_PER_VCPU = 1769
"""Of a function's memory. https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""
KEPT_SECONDS = 600.0
"""Assumed: how long Lambda keeps an environment that is not called. AWS promises nothing."""
INIT_SECONDS = 6.0
"""Assumed: initialization without a snapshot, the model's download included."""
MODAL_CORES, MODAL_GIB, MODAL_WINDOW, MODAL_START = 2, 4, 60.0, 10.0
"""A container's resources and idle seconds by default, and assumed seconds of a start."""
LOG_BYTES = 2600
"""Of a request: access line 700, metrics 1,100; Lambda's and API Gateway's own about 800."""
METRICS = {"inference": 13, "streaming": 13, "api": 5}
"""How many each service emits, if everything it does happens within the hour."""
N_ALARM_METRICS = 13
"""Twelve alarms, of which that of the table watches two metrics."""
STORED_WRITE_UNITS = 10
"""A completion with three metadata pairs (docs/scale.md)."""
MODEL_GB = 0.53
"""Of the model's file that was measured."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A machine's completion tokens/s by concurrent streams; each request has the same tokens."""

    rates: Mapping[int, float]
    vcpus: int = 2
    prompt_tokens: int = 106
    completion_tokens: int = 64

    @property
    def alone(self) -> float:
        """Tokens/s of a request that has the machine for itself."""
        return self.rates[min(self.rates)]

    @property
    def full(self) -> float:
        """Tokens/s of all streams together when the batch is full."""
        return self.rates[max(self.rates)]

    @property
    def memory(self) -> int:
        """MB of a function with as many vCPUs as the machine."""
        return self.vcpus * MB_PER_VCPU

    @property
    def seconds(self) -> float:
        """What a request takes alone."""
        return self.completion_tokens / self.alone


DEFAULT = Measured({1: 21.8, 4: 46.8, 8: 53.8, 16: 62.4})
"""0.5 B parameters in 8 bits, on two cores of a Xeon with AVX-512 (docs/performance.md)."""


def lambda_second(memory: float, architecture: str = "x86_64") -> float:
    """Dollars for a second of a function with ``memory`` MB."""
    price: float = PRICES["lambda"][f"{architecture}_gb_second"]
    return memory / 1024 * price


def lambda_request(measured: Measured) -> float:
    """Dollars for a warm request through the HTTP API: compute, call, gateway, logs."""
    calls: float = PRICES["lambda"]["request"] + PRICES["api_gateway"]["http_api_request"]
    logs: float = LOG_BYTES / 1e9 * PRICES["cloudwatch"]["logs_gb"]
    return measured.seconds * lambda_second(measured.memory) + calls + logs


def cold_share(requests: float) -> float:
    """The part of ``requests`` a month that finds no environment, if they come independently."""
    return math.exp(-requests / MONTH * KEPT_SECONDS)


def snapshot_month(measured: Measured, functions: int) -> float:
    """Dollars a month for the snapshots of so many functions, called or not."""
    price: float = PRICES["lambda"]["snapshot_gb_second"]
    return functions * measured.memory / 1024 * price * MONTH


def restore(measured: Measured) -> float:
    """Dollars for a restored environment."""
    price: float = PRICES["lambda"]["restore_gb"]
    return measured.memory / 1024 * price


def lambda_month(measured: Measured, requests: float, *, snapstart: bool) -> float:
    """Dollars for ``requests`` a month to one function, cold starts and its snapshot included."""
    if snapstart:
        cold, fixed = restore(measured), snapshot_month(measured, 1)
    else:
        cold, fixed = INIT_SECONDS * lambda_second(measured.memory), 0.0
    return fixed + requests * (lambda_request(measured) + cold_share(requests) * cold)


def modal_second(gpu: str) -> float:
    """Dollars for a second of a container with ``gpu``."""
    prices = PRICES["modal"]
    resources = MODAL_CORES * prices["core_second"] + MODAL_GIB * prices["gib_second"]
    second: float = prices["gpu_second"][gpu] + resources
    return second


def modal_month(gpu: str, requests: float, measured: Measured) -> float:
    """Dollars for the time in which one container runs, if requests come independently."""
    awake = MODAL_START + MODAL_WINDOW + measured.seconds
    return MONTH * (1 - math.exp(-requests / MONTH * awake)) * modal_second(gpu)


def machine_month(machine: str) -> float:
    """Dollars a month for an EC2 machine that always runs."""
    hour: float = PRICES["ec2"]["hour"][machine]
    return hour * MONTH / HOUR


def capacity(measured: Measured) -> float:
    """Requests a month that a machine of the measured kind can do, with a full batch always."""
    return MONTH * measured.full / measured.completion_tokens
