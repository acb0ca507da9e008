"""Prices of a model's tokens, as settings have them."""

from __future__ import annotations

from decimal import Decimal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from shared.accounts.limits import TokenPrices

_PER_TOKEN = 1000
"""Nanodollars for a token at a dollar per million."""


class Price(BaseModel):
    """Dollars per million tokens, in thousandths: money is counted in whole nanodollars."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    prompt: Decimal = Field(default=Decimal(0), ge=0, le=10**6)
    cached: Decimal | None = Field(default=None, ge=0, le=10**6)
    completion: Decimal = Field(default=Decimal(0), ge=0, le=10**6)

    @field_validator("prompt", "cached", "completion", mode="before")
    @classmethod
    def _exact(cls, value: object) -> object:
        """As it is written: a float's digits, not its binary value."""
        return str(value) if isinstance(value, float) else value

    @field_validator("prompt", "cached", "completion")
    @classmethod
    def _check(cls, value: Decimal | None) -> Decimal | None:
        if value is not None and value * _PER_TOKEN % 1:
            raise ValueError(f"{value} has more than three decimals")
        return value

    @property
    def tokens(self) -> TokenPrices:
        """The same in nanodollars for a token."""
        cached = self.prompt if self.cached is None else self.cached
        return TokenPrices(
            prompt=int(self.prompt * _PER_TOKEN),
            cached=int(cached * _PER_TOKEN),
            completion=int(self.completion * _PER_TOKEN),
        )
