"""``serve --model-draft hf:...``."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.models.sources import BUILTIN_PATH
from tests.conftest import StartServer
from tests.models.hub import FILE, REPOSITORY, local_hub

pytestmark = pytest.mark.usefixtures("processes")


def test_a_draft_model_from_the_hub_drafts(start_server: StartServer, tmp_path: Path) -> None:
    source = f"hf:{REPOSITORY}:{FILE}"
    with local_hub(BUILTIN_PATH.read_bytes()) as (url, requests):
        server = start_server(
            *("--model-draft", source),
            environ={"HF_ENDPOINT": url, "HF_HOME": f"{tmp_path}", "HF_HUB_DISABLE_TELEMETRY": "1"},
            new_interpreter=True,  # the hub's client reads its address when it is imported
        )
        assert f"GET /{REPOSITORY}/resolve/main/{FILE}" in requests
    asked = {"prompt": "Once", "n_predict": 3, "temperature": 0}
    answer = server.post("/completion", asked).raise_for_status().json()
    assert answer["generation_settings"]["speculative.types"] == "draft-simple"
    assert answer["tokens_predicted"] == 3
    assert list(tmp_path.rglob(Path(FILE).name))
