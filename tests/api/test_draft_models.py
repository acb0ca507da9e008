"""Draft models: the same answers in fewer steps, and what can't be one is refused at the start."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.engine.row_costs import RowCosts
from shared.engine.speculation.cost_estimates import CostEstimates
from shared.models.errors import ModelSourceError
from tests.api.conftest import StartServer
from tests.models.recurrent_models import write_mamba
from tests.models.sentencepiece import write_sentencepiece
from tests.server import Server, user


@pytest.fixture
def _drafting_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RowCosts, "is_known", True)
    monkeypatch.setattr(CostEstimates, "__call__", lambda cost, _n: float(cost._guess is None))


@pytest.mark.slow
@pytest.mark.usefixtures("_drafting_is_free")
def test_answers_are_the_same(server: Server, start_server: StartServer) -> None:
    drafting = start_server("-md", "builtin", "-np", "2")
    asked = {"temperature": 0, "max_tokens": 60, "timings_per_token": True}
    expected = server.chat(messages=user("Count from 1 to 20"), **asked).json()
    found = drafting.chat(messages=user("Count from 1 to 20"), **asked).json()
    assert found["choices"] == expected["choices"]
    timings = found["timings"]
    assert 40 < timings["draft_n_accepted"] <= timings["draft_n"]
    details = found["usage"]["completion_tokens_details"]
    assert details["accepted_prediction_tokens"] == details["rejected_prediction_tokens"] == 0


def test_a_file_that_is_missing_is_named(start_server: StartServer) -> None:
    with pytest.raises(ModelSourceError) as caught:
        start_server("--model-draft", "/nowhere/draft.gguf")
    assert str(caught.value) == (
        "can't use the draft model /nowhere/draft.gguf: no such model file: /nowhere/draft.gguf"
    )


@pytest.mark.slow
def test_other_vocabularies_are_refused(start_server: StartServer, tmp_path: Path) -> None:
    other = write_sentencepiece(tmp_path / "other.gguf", "llama")
    with pytest.raises(ModelSourceError) as caught:
        start_server("--model-draft", f"{other}")
    assert str(caught.value) == (
        f"can't use the draft model {other}: its vocabulary is not that of the model that it "
        "drafts for: it is of another type"
    )


@pytest.mark.slow
def test_recurrent_models_are_refused(start_server: StartServer, tmp_path: Path) -> None:
    mamba = write_mamba(tmp_path / "mamba.gguf")
    with pytest.raises(ModelSourceError, match="it has a recurrent state, which can't be cut back"):
        start_server("--model-draft", f"{mamba}")


def test_a_file_that_is_no_model_is_refused(start_server: StartServer, tmp_path: Path) -> None:
    damaged = tmp_path / "draft.gguf"
    damaged.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ModelSourceError, match=f"can't use the draft model {damaged}: "):
        start_server("--model-draft", f"{damaged}")
