"""Two copies of one process, whose memory they have by fork: each prints what it comes to.

A snapshot's copies have threads, too, which those of fork lack: here is all but the engine.
"""

from __future__ import annotations

import json
import os
import random
from typing import Any

from functions.aws_lambda.buffered_handler import BufferedHandler
from functions.http.api_app import create_api_app
from shared.completion.sampling_parameters import sampling_params
from shared.config.settings import Settings
from shared.protocol.openai.chat_completions import ChatCompletionRequest
from shared.runtime.snapshot import after_restore, before_snapshot
from shared.runtime.state import ServerState
from shared.storage.dynamodb import DynamoDBStore
from shared.storage.types import new_id
from tests.aws_lambda.events import http_api_event

_REQUEST = ChatCompletionRequest.model_validate(
    {"messages": [{"role": "user", "content": "Hello"}]}
)


def main() -> None:
    """Print a line of JSON for each of the two copies."""
    app = create_api_app(Settings(store="dynamodb:table,bucket"))
    state: ServerState = app.state.server
    handler = BufferedHandler(app)
    state.stores.warm_up()
    before = _clients(state)
    before_snapshot(state)
    numbers = random.getstate()
    for _ in range(2):
        if os.fork() == 0:
            random.setstate(numbers)  # Python seeds it after a fork; nobody does after a restore
            after_restore(state)
            state.stores.warm_up()
            found = _drawn(handler)
            is_new = all(old is not new for old, new in zip(before, _clients(state), strict=True))
            found["has_new_clients"] = is_new
            print(json.dumps(found))
            return
        assert os.wait()[1] == 0


def _drawn(handler: BufferedHandler) -> dict[str, Any]:
    response = handler(http_api_event("GET", "/v1/models"), None)  # type: ignore[arg-type]
    return {
        "id": new_id("chatcmpl")[-16:],  # what comes before is the time
        "request_id": response["headers"]["x-request-id"],
        "seed": sampling_params(_REQUEST).seed,
        "random": random.random(),
    }


def _clients(state: ServerState) -> tuple[object, object]:
    store = state.stores._opened_completions()
    assert isinstance(store, DynamoDBStore)
    return store._clients.dynamodb, store._clients.s3


if __name__ == "__main__":
    main()
