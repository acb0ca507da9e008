"""What a variable's text must be: each parser returns its value, or raises `ValueError`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable


def boolean(text: str) -> bool:
    """Of the usual spellings; empty is false."""
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("", "0", "false", "no", "off"):
        return False
    raise ValueError("expected true or false")


def names(text: str) -> tuple[str, ...]:
    """Separated by commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def gpus(text: str) -> tuple[str, ...]:
    """Types of GPUs, as Modal spells them: with their number in one container, 8 at most."""
    found = names(text)
    if not found or not all(re.fullmatch(r"[\w-]+[!+]?(:[1-8])?", each) for each in found):
        raise ValueError("expected types of GPUs, comma-separated, as L4 or H100:2 (8 at most)")
    return found


def name(text: str) -> str:
    """Of an app or a Volume: what Modal allows."""
    if not re.fullmatch(r"[\w.-]{1,63}", text, re.ASCII):
        raise ValueError("expected a name of letters, digits, '-', '.' and '_', 63 at most")
    return text


def optional_name(text: str) -> str:
    """The same, or nothing."""
    return name(text) if text else ""


def version(text: str) -> str:
    """Of CUDA: images are tagged with all three parts."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", text, re.ASCII):
        raise ValueError("expected a version such as 12.9.1")
    return text


def one_of(*choices: str) -> Callable[[str], str]:
    """A parser of ``choices``."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return text

    return parse


def whole(least: int, most: float = math.inf) -> Callable[[str], int]:
    """A parser of whole numbers between ``least`` and ``most``."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"-?\d+", text, re.ASCII) or not least <= int(text) <= most:
            raise ValueError(f"expected a whole number, {_limits(least, most)}")
        return int(text)

    return parse


def decimal(least: float, most: float = math.inf) -> Callable[[str], float]:
    """A parser of numbers between ``least`` and ``most``."""

    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not least <= number <= most or math.isinf(number):
            raise ValueError(f"expected a number, {_limits(least, most)}")
        return number

    return parse


def _limits(least: float, most: float) -> str:
    return f"at least {least}" if math.isinf(most) else f"between {least} and {most}"
