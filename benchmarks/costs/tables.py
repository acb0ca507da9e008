"""All tables of docs/costs.md."""

from collections.abc import Mapping

from benchmarks.costs import monthly_bills, request_prices, token_prices
from benchmarks.costs.pricing import DEFAULT, Measured


def tables(measured: Measured = DEFAULT) -> Mapping[str, str]:
    """All tables, by what they are about."""
    return {
        "the month's bill": monthly_bills.summary(measured),
        "Lambda's build": token_prices.builds(measured),
        "dollars per million tokens": token_prices.per_million(measured),
        "parts of a request on Lambda": request_prices.request_parts(measured),
        "memory of a function": token_prices.memory_sizes(measured),
        "size of a model (estimated)": token_prices.model_sizes(measured),
        "ten turns of a conversation": request_prices.conversations(measured),
        "a month": monthly_bills.monthly(measured),
        "break-even": monthly_bills.break_even(measured),
        "idle": monthly_bills.idle(measured),
        "ten million requests with wrong keys": request_prices.attacks(),
        "GPUs": token_prices.gpus(measured),
        "metrics": request_prices.metrics(),
    }
