"""Dollars per million tokens, by where, how full and how large, as tables."""

from benchmarks.costs.markdown import dollars, table
from benchmarks.costs.pricing import (
    HOUR,
    MB_PER_VCPU,
    MODEL_GB,
    ONE_THREAD,
    PRICES,
    Measured,
    lambda_second,
    modal_second,
    one_thread,
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
    return table(
        ("where", "tokens/s", "$ per million completion tokens", "$, prompts counted"), rows
    )


def _rate_row(measured: Measured, label: str, rate: float, second: float) -> tuple[str, ...]:
    completion = second / rate * 1e6
    all_tokens = measured.prompt_tokens + measured.completion_tokens
    return (
        label,
        f"{rate:.1f}",
        dollars(completion),
        dollars(completion * measured.completion_tokens / all_tokens),
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
    return table(header, rows)


def memory_sizes(measured: Measured) -> str:
    """Dollars per million completion tokens by a function's memory, at best and at worst."""
    rows = []
    for memory in (MB_PER_VCPU, 3008, measured.memory, 5307, 10240):
        ratio = memory / measured.memory
        price = lambda_second(memory) * 1e6
        worst = dollars(price / measured.on_lambda) if ratio >= 1 else "-"
        rows.append(
            (
                f"{memory:,}",
                f"{memory / MB_PER_VCPU:.1f}",
                f"{measured.on_lambda * ratio:.1f}",
                dollars(price / (measured.on_lambda * ratio)),
                worst,
            )
        )
    header = ("MB", "vCPUs", "tokens/s if all help", "$ if all help", "$ if more don't help")
    return table(header, rows)


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
                dollars(lambda_second(measured.memory) / rate * 1e6),
                dollars(hour / HOUR / (measured.full / ratio) * 1e6),
            )
        )
    header = ("GB", "tokens/s alone", "s for an answer", "Lambda, $/M", "machine, full batch, $/M")
    return table(header, rows)


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
                *(dollars(second / rate * 1e6) for rate in (100, 500, 2000)),
                f"{second / per_token:,.0f}",
                f"{machine}, {hour:.2f}",
                f"{hours:.1f}" if (hours := 24 * hour / (second * HOUR)) < 24 else "always cheaper",
            )
        )
    header = (
        *("GPU", "Modal, $/h", "$/M at 100 tokens/s", "at 500", "at 2,000"),
        *("tokens/s to equal Lambda", "EC2, $/h", "hours a day to equal EC2"),
    )
    return table(header, rows)
