"""Tables and amounts in Markdown."""

from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with one line for each row."""
    lines = [f"| {' | '.join(cells)} |" for cells in (header, *rows)]
    return "\n".join([lines[0], "|---" * len(header) + "|", *lines[1:]])


def dollars(amount: float) -> str:
    """An amount in dollars, without cents from a thousand on."""
    return f"{amount:,.2f}" if amount < 1000 else f"{amount:,.0f}"
