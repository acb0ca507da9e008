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
METRICS = {"inference": 13, "api": 5}
"""How many each service emits, if everything it does happens within the hour."""
N_ALARM_METRICS = 10
"""Nine alarms, of which that of the table watches two metrics."""
TEMPLATE_MEMORY, AUTHORIZER_MEMORY = 3008, 1769
"""MB of the template's functions by default: of that with the model, and of the authorizer."""
REFUSAL_SECONDS, AUTHORIZER_SECONDS, AUTHORIZER_INIT_SECONDS = 0.005, 0.002, 0.5
"""Assumed: what refusing a wrong key takes in a process that is there. Imports of the authorizer
take 0.34 s of processor time with accounts, for boto3, and 0.04 s without."""
BUILTIN_INIT_SECONDS = 2.0
"""Assumed: initialization with the built-in model, without a snapshot."""
STORED_WRITE_UNITS = 10
"""A completion with three metadata pairs (docs/scale.md)."""
MODEL_GB = 0.53
"""Of the model's file that was measured."""


ONE_THREAD = {"AVX2": (68.0, 13.1), "AVX-512": (89.5, 13.4)}
"""Tokens/s of that model's prompts (128 tokens) and decoding, by what llama.cpp was compiled for:
the artifact of `sam build`, and the same version for the machine at hand, a Xeon with AVX-512. By
the thread's processor time, the best of six runs in turns on a busy machine."""
PAGE_IN_MB = 200
"""Assumed: MB/s at which a copy of a snapshot gets its model's pages. AWS says nothing of it."""


def one_thread(build: str, prompt_tokens: int, completion_tokens: int) -> float:
    """Seconds of one thread for a request, by a key of `ONE_THREAD`."""
    prompt, decode = ONE_THREAD[build]
    return prompt_tokens / prompt + completion_tokens / decode


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
    def on_lambda(self) -> float:
        """Tokens/s of a request alone on Lambda, whose build may use AVX2 and no more."""
        tokens = self.prompt_tokens, self.completion_tokens
        return self.alone * one_thread("AVX-512", *tokens) / one_thread("AVX2", *tokens)

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
        """What a request takes alone on Lambda."""
        return self.completion_tokens / self.on_lambda


DEFAULT = Measured({1: 21.8, 4: 46.8, 8: 53.8, 16: 62.4})
"""0.5 B parameters in 8 bits, on two cores of a Xeon with AVX-512 (docs/performance)."""


def lambda_second(memory: float, architecture: str = "x86_64") -> float:
    """Dollars for a second of a function with ``memory`` MB."""
    price: float = PRICES["lambda"][f"{architecture}_gb_second"]
    return memory / 1024 * price


def lambda_calls(endpoint: str = "rest-api") -> float:
    """Dollars for a request besides computing: the call, what is in front of it, logs."""
    gateways = PRICES["api_gateway"]
    gateway = {"rest-api": "rest_api_request", "http-api": "http_api_request"}.get(endpoint)
    calls: float = PRICES["lambda"]["request"] + (gateways[gateway] if gateway else 0.0)
    logs: float = LOG_BYTES / 1e9 * PRICES["cloudwatch"]["logs_gb"]
    return calls + logs


def lambda_request(measured: Measured, endpoint: str = "rest-api") -> float:
    """Dollars for a warm request: compute, call, gateway, logs."""
    return measured.seconds * lambda_second(measured.memory) + lambda_calls(endpoint)


def cold_share(requests: float) -> float:
    """The part of ``requests`` a month that finds no environment, if they come independently."""
    return math.exp(-requests / MONTH * KEPT_SECONDS)


def snapshot_month(measured: Measured) -> float:
    """Dollars a month for the snapshot of a version, called or not."""
    price: float = PRICES["lambda"]["snapshot_gb_second"]
    return measured.memory / 1024 * price * MONTH


def refusal(*, is_cold: bool, snapstart: bool = False) -> float:
    """Dollars for a request with a wrong key that the function with the model has to refuse."""
    second = lambda_second(TEMPLATE_MEMORY)
    logs: float = LOG_BYTES / 1e9 * PRICES["cloudwatch"]["logs_gb"]
    warm: float = PRICES["lambda"]["request"] + REFUSAL_SECONDS * second + logs
    if not is_cold:
        return warm
    return warm + (restore(TEMPLATE_MEMORY) if snapstart else BUILTIN_INIT_SECONDS * second)


def authorization(*, is_cold: bool) -> float:
    """Dollars for a call of the authorizer, which logs nothing."""
    seconds = AUTHORIZER_SECONDS + (AUTHORIZER_INIT_SECONDS if is_cold else 0)
    price: float = PRICES["lambda"]["request"]
    return price + seconds * lambda_second(AUTHORIZER_MEMORY)


def restore(memory: float) -> float:
    """Dollars for a restored environment with ``memory`` MB."""
    price: float = PRICES["lambda"]["restore_gb"]
    return memory / 1024 * price


def page_in(measured: Measured) -> float:
    """Dollars for the time in which a copy of a snapshot gets its model, in its first request."""
    return 1000 * MODEL_GB / PAGE_IN_MB * lambda_second(measured.memory)


def lambda_month(
    measured: Measured, requests: float, *, snapstart: bool, endpoint: str = "rest-api"
) -> float:
    """Dollars for ``requests`` a month to one function, cold starts and its snapshot included."""
    if snapstart:
        cold = restore(measured.memory) + page_in(measured)
        fixed = snapshot_month(measured)
    else:
        cold, fixed = INIT_SECONDS * lambda_second(measured.memory), 0.0
    return fixed + requests * (lambda_request(measured, endpoint) + cold_share(requests) * cold)


def provisioned_month(measured: Measured, requests: float) -> float:
    """Dollars for ``requests`` a month with one provisioned environment.

    What finds it busy (Erlang's formula) starts others, which cost what they always do; their cold
    starts are left out.
    """
    prices, gb = PRICES["lambda"], measured.memory / 1024
    load = requests / MONTH * measured.seconds
    spilled = load / (1 + load)
    there: float = gb * prices["provisioned_gb_second"] * MONTH
    busy: float = measured.seconds * gb * prices["provisioned_busy_gb_second"]
    elsewhere = measured.seconds * lambda_second(measured.memory)
    return there + requests * ((1 - spilled) * busy + spilled * elsewhere + lambda_calls())


def modal_second(gpu: str) -> float:
    """Dollars for a second of a container with ``gpu``."""
    prices = PRICES["modal"]
    resources = MODAL_CORES * prices["core_second"] + MODAL_GIB * prices["gib_second"]
    second: float = prices["gpu_second"][gpu] + resources
    return second


def modal_month(gpu: str, requests: float, measured: Measured) -> float:
    """Dollars for the time in which one container runs, if requests come independently."""
    awake = MODAL_START + MODAL_WINDOW + measured.completion_tokens / measured.alone
    return MONTH * (1 - math.exp(-requests / MONTH * awake)) * modal_second(gpu)


def machine_month(machine: str) -> float:
    """Dollars a month for an EC2 machine that always runs."""
    hour: float = PRICES["ec2"]["hour"][machine]
    return hour * MONTH / HOUR


def capacity(measured: Measured) -> float:
    """Requests a month that a machine of the measured kind can do, with a full batch always."""
    return MONTH * measured.full / measured.completion_tokens
