"""List of stored completions, newest first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from starlette.responses import Response

from functions.dashboard.completions.asked_view import asked_view
from functions.dashboard.completions.filters import INCOMPLETE, finish_reasons
from functions.dashboard.completions.listing import PAGE_SIZE, list_page
from functions.dashboard.completions.texts import answer, mapping, number, question
from functions.dashboard.formats import one_line
from functions.dashboard.handling import PageRequest
from shared.storage.types import StoredCompletion

_MAX_PAIRS = 4
"""Of metadata, in a row."""


@dataclass(frozen=True, slots=True)
class Row:
    """A completion in the list. Texts are the first words."""

    id: str
    created: int
    model: str
    question: str
    answer: str
    tokens: float | None
    seconds: float | None
    cost: float | None
    metadata: Mapping[str, str]
    n_more_pairs: int
    marks: list[str]

    @classmethod
    def of(cls, completion: StoredCompletion) -> Row:
        """Of a stored completion, whatever shape it has."""
        usage = mapping(completion.response.get("usage"))
        pairs = completion.metadata.items()
        marks = sorted({reason for reason in finish_reasons(completion) if reason != "stop"})
        return cls(
            completion.id,
            completion.created,
            completion.model,
            one_line(question(completion)),
            one_line(answer(completion)),
            number(usage.get("total_tokens")),
            number(completion.timings.get("total_seconds")),
            number(usage.get("cost")),
            {one_line(name, 40): one_line(value, 40) for name, value in islice(pairs, _MAX_PAIRS)},
            max(len(pairs) - _MAX_PAIRS, 0),
            [*marks, INCOMPLETE] if completion.is_incomplete else marks,
        )


async def list_completions(page: PageRequest) -> Response:
    """The list, or what to do where there is nothing to list."""
    asked = await asked_view(page)
    filters, listing = asked.filters, None
    if (query := asked.query(PAGE_SIZE)) is not None:
        listing = await page.state.stores.in_store(lambda store: list_page(store, query, filters))
        if filters.before and listing.newer is None:
            # The newest page, full: it shows what came meanwhile as well.
            return page.redirect("completions", **filters.parameters())

    def view(**changes: str) -> str:
        return page.url("completions", **filters.parameters(**changes))

    return await page.render(
        "completions.html",
        **asked.values(),
        listing=listing,
        rows=[] if listing is None else [Row.of(each) for each in listing.completions],
        view=view,
        chips=[
            (name, value, page.url("completions", **parameters))
            for name, value, parameters in filters.chips(asked.choice.keys)
        ],
        notice="The completion was deleted." if "deleted" in page.request.query_params else None,
    )
