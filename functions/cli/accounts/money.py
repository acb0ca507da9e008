"""Amounts of money in dollars, exact to the nanodollar in which servers count."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

_DECIMALS = 9
_CENTS = 2


def dollars(amount: Mapping[str, Any]) -> Decimal:
    """An ``amount`` of the API, without what its binary floating-point number adds or lacks.

    The shortest decimal number that such a float is read from has all nanodollars of less than
    a million dollars.
    """
    return round(Decimal(str(amount["value"])), _DECIMALS)


def shown_dollars(amount: Decimal) -> str:
    """All decimals that are not zero, and at least two."""
    whole, _, decimals = f"{amount:.{_DECIMALS}f}".partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(_CENTS, '0')}"
