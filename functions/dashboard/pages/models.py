"""Models page: what is served, from where, in which state, and how fast it was lately.

Nothing is woken up or asked for it: it is what this process knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from starlette.responses import Response

from functions.dashboard.handling import PageRequest
from shared.runtime.pooled_model import PooledModel
from shared.runtime.recent_speed import Speed

Level = Literal["good", "warn", "bad", "plain"]

_APIS = {"openai": "OpenAI's API", "anthropic": "Messages API", "bedrock": "Converse API"}
"""Of upstreams, by their dialects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A model.

    - ``others``: further names.
    - ``state``: in words; ``level``: whether that is good.
    - ``context``: tokens of a prompt with its answer, as far as it is known.
    """

    name: str
    others: tuple[str, ...] = ()
    place: str
    detail: str = ""
    state: str
    level: Level
    context: int | None = None
    price: Any = None
    speed: Speed | None = None


async def show_models(page: PageRequest) -> Response:
    """The models that the viewer may use; all of them for administrators."""
    state, caller = page.state, page.viewer.caller
    own = list(state.models) if state.settings.has_own_model else []
    rows = [_own(page, model) for model in own if caller.may_use(model.names)]
    rows += [_upstream(page, name) for name in state.settings.upstreams if caller.may_use((name,))]
    return await page.render("models.html", rows=rows)


def _own(page: PageRequest, model: PooledModel) -> _Row:
    state = page.state
    text, level = _state(page, model)
    served = model.loader.served
    detail, context = "", None
    if served is not None:
        card = served.card()
        detail, context = str(card.meta["description"]), served.engine.n_ctx
    return _Row(
        name=model.name,
        others=tuple(model.names[1:]),
        place="This server" if state.has_model else "Another function of this deployment",
        detail=detail,
        state=text,
        level=level,
        context=context,
        price=state.settings.price(model.name),
        speed=state.speed.of(model.name),
    )


def _state(page: PageRequest, model: PooledModel) -> tuple[str, Level]:
    """What is known of an own model's state."""
    if not page.state.has_model:
        return "Not known here", "plain"
    served, loader = model.loader.served, model.loader
    if served is not None:
        return ("Loaded", "good") if served.engine.is_alive else ("Stopped", "bad")
    if loader.error is not None or model.status == "failed":
        return "Failed to load", "bad"
    is_single = len(page.state.models) == 1
    if is_single or model.status == "loading" or 0 < loader.progress < 1:
        return f"Loading, {loader.progress:.0%}", "warn"
    return "Not loaded: the first request loads it", "plain"


def _upstream(page: PageRequest, name: str) -> _Row:
    state = page.state
    upstream = state.settings.upstreams[name]
    text, level = _upstream_state(page, name)
    return _Row(
        name=name,
        place=upstream.served_by,
        detail=_APIS[upstream.dialect],
        state=text,
        level=level,
        price=state.settings.price(name),
        speed=state.speed.of(name),
    )


def _upstream_state(page: PageRequest, name: str) -> tuple[str, Level]:
    """What is known of an upstream: whether it failed here again and again."""
    client = page.state.upstreams
    if client is None:
        return "Asked by another function", "plain"
    seconds = client.paused_seconds(name)
    return (f"Paused for {seconds:.0f} s after failures", "bad") if seconds else ("Ready", "good")
