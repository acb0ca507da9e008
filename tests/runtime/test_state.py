"""What handlers share."""

from __future__ import annotations

import pytest

from shared.config.settings import Settings
from shared.protocol.errors import APIError
from shared.runtime.loader import ModelLoader
from shared.runtime.state import ServerState


def test_a_model_whose_engine_has_ended_is_not_served() -> None:
    settings = Settings(store="none")
    loader = ModelLoader(settings)
    state = ServerState(settings, loader)
    loader.start()
    served = loader.wait()
    assert state.model() is served

    served.engine.stop()

    with pytest.raises(APIError, match="not being served") as raised:
        state.model()
    assert (raised.value.status, raised.value.headers) == (503, {"retry-after": "5"})
    served.model.close()
