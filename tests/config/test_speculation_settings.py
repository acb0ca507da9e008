"""Settings of speculative decoding: where drafts come from, and what goes together."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from functions.cli.__main__ import main
from shared.config.settings import Settings


class TestDraftModels:
    """Where drafts come from, and what goes together."""

    def test_types_are_a_list(self) -> None:
        assert Settings().spec_type == ["prediction"]
        values: dict[str, Any] = {"spec_type": "ngram-simple, draft-simple"}
        settings = Settings(**values, model_draft="d.gguf")
        assert settings.spec_type == ["ngram-simple", "draft-simple"]

    @pytest.mark.parametrize(
        ("values", "said"),
        [
            ({"spec_type": "none,ngram-simple"}, "'none' goes with no other type"),
            ({"spec_type": "draft-simple"}, "takes a draft model: name one"),
            ({"spec_type": "none", "model_draft": "d.gguf"}, "name no draft model"),
            ({"spec_type": "draft-mtp"}, "Input should be 'none', 'prediction', 'draft-simple'"),
            ({"spec_draft_n_min": 17}, "17 are more than the longest draft has"),
            ({"spec_draft_p_min": 1.5}, "less than or equal to 1"),
        ],
    )
    def test_what_does_not_go_together_is_refused(self, values: dict[str, Any], said: str) -> None:
        with pytest.raises(ValidationError) as caught:
            Settings(**values)
        assert said in str(caught.value)

    def test_other_models_have_none_unless_they_name_one(self) -> None:
        sections = {"a": {"source": "a.gguf"}, "b": {"source": "b.gguf", "model_draft": "c.gguf"}}
        settings = Settings(
            model="m.gguf", model_draft="d.gguf", spec_type=["draft-simple"], models=sections
        )
        found = {name: own.model_draft for name, own in settings.own.items()}
        assert found == {"m": "d.gguf", "a": None, "b": "c.gguf"}
        assert settings.own["a"].spec_type == ["prediction"]

    def test_llama_servers_spellings(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            main(["serve", "--help"])
        text = capsys.readouterr().out
        for flag in ("-md", "--spec-draft-model", "-ngld", "--gpu-layers-draft", "-td"):
            assert f"{flag} " in text
        for flag in ("--draft-p-min", "--threads-draft", "--n-gpu-layers-draft"):
            assert f"{flag} " in text
