"""Every tier that OpenAI's clients know is served as one of three."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast, get_args

import pytest

from functions.inference import response_head
from shared.protocol.chat import ChatCompletionRequest
from shared.protocol.fields import ServiceTier

if TYPE_CHECKING:
    from shared.models.served import ServedModel

SERVED = {
    None: "default",
    "auto": "default",
    "default": "default",
    "scale": "default",
    "flex": "flex",
    "priority": "priority",
    "fast": "priority",
}


@pytest.mark.parametrize(("tier", "served"), SERVED.items())
def test_the_response_names_the_tier_that_serves(tier: str | None, served: str) -> None:
    body = {"messages": [{"role": "user", "content": "Hello"}], "service_tier": tier}
    parsed = ChatCompletionRequest.model_validate_json(json.dumps(body))
    model = cast("ServedModel", SimpleNamespace(name="lamp", fingerprint="fp_1"))

    assert response_head(parsed, model, "chatcmpl").service_tier == served


def test_no_tier_is_forgotten() -> None:
    assert {None, *get_args(ServiceTier)} == SERVED.keys()
