"""Draft model and the model that it drafts for: one vocabulary, and memory for both contexts."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.engine.config import EngineConfig
from shared.engine.engine import Engine
from shared.engine.llama import context_fit
from shared.engine.llama.context import Context
from shared.engine.llama.context_fit import new_context
from shared.engine.llama.errors import LlamaError
from shared.engine.llama.model import Model
from shared.engine.speculation.compatibility import draft_problem
from tests.engine.conftest import DRAFT_MODEL_ONLY
from tests.engine.llama.test_context_size import set_free
from tests.models.recurrent_models import write_mamba
from tests.models.sentencepiece import write_sentencepiece
from tests.models.variant import write_variant


class TestCompatibility:
    """A draft model has the vocabulary of the model that it drafts for, and no recurrent state."""

    def test_a_model_can_draft_for_itself(self, model: Model) -> None:
        assert draft_problem(model, model) is None

    def test_a_recurrent_state_cant_be_cut_back(self, model: Model, tmp_path: Path) -> None:
        mamba = Model(write_mamba(tmp_path / "mamba.gguf"))
        assert "it has a recurrent state" in (draft_problem(model, mamba) or "")
        assert "the model that it drafts for has a recurrent" in (draft_problem(mamba, model) or "")
        mamba.close()

    def test_another_kind_of_vocabulary(self, model: Model, tmp_path: Path) -> None:
        other = Model(write_sentencepiece(tmp_path / "other.gguf", "llama"))
        assert "it is of another type" in (draft_problem(model, other) or "")
        other.close()

    def test_another_beginning_of_prompts(self, model: Model, tmp_path: Path) -> None:
        metadata = {"tokenizer.ggml.add_bos_token": not model.adds_bos}
        other = Model(write_variant(tmp_path / "other.gguf", metadata))
        assert "one of them adds BOS to prompts" in (draft_problem(model, other) or "")
        other.close()

    @pytest.mark.parametrize(
        ("n_more", "problem"), [(0, None), (128, None), (129, "it has 1409 tokens instead of 1280")]
    )
    def test_a_few_more_tokens_make_no_difference(
        self, model: Model, monkeypatch: pytest.MonkeyPatch, n_more: int, problem: str | None
    ) -> None:
        other = Model(model.path)
        monkeypatch.setattr(model, "n_vocab", 1280)
        monkeypatch.setattr(other, "n_vocab", 1280 + n_more)
        found = draft_problem(model, other)
        other.close()
        assert (found or "").endswith(problem or "")
        assert (found is None) == (problem is None)

    def test_other_tokens(self, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
        import llama_cpp.llama_cpp as lib

        other = Model(model.path)
        text = lib.llama_vocab_get_text
        monkeypatch.setattr(
            lib,
            "llama_vocab_get_text",
            lambda vocab, i: b"x" if vocab == other.vocab and i == 300 else text(vocab, i),
        )
        found = draft_problem(model, other) or ""
        other.close()
        assert "token 300 is 'x' instead of" in found


class TestMemory:
    """Both contexts have to fit."""

    @pytest.fixture(autouse=True)
    def _alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let other tests' servers in this process have no models."""
        monkeypatch.setattr(context_fit, "others", lambda _: [])
        monkeypatch.setattr(context_fit, "mapped_by_others", lambda _: 0)

    def test_a_draft_models_context_makes_both_shorter(
        self, model: Model, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        set_free(monkeypatch, 220 * 2**20)
        config = EngineConfig(n_parallel=4)
        alone, _ = new_context(model, config)
        beside, _ = new_context(model, config, model)
        n_ctx = alone.n_ctx, beside.n_ctx
        alone.close()
        beside.close()
        assert n_ctx[1] < 0.6 * n_ctx[0]

    def test_what_does_not_fit_is_refused(
        self, model: Model, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = EngineConfig(n_parallel=4, n_ctx=12288)
        set_free(monkeypatch, 220 * 2**20)
        new_context(model, config)[0].close()
        with pytest.raises(LlamaError, match="12288 tokens does not fit"):
            new_context(model, config, model)

    def test_no_context_is_left_where_a_draft_models_cant_be_made(
        self, model: Model, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise LlamaError("can't create a context")

        closed: list[Context] = []
        close = Context.close
        monkeypatch.setattr("shared.engine.speculation.setup.new_draft_context", fail)

        def note_and_close(context: Context) -> None:
            closed.append(context)
            close(context)

        monkeypatch.setattr(Context, "close", note_and_close)
        config = EngineConfig(n_parallel=1, n_ctx=256, speculation=DRAFT_MODEL_ONLY)
        with pytest.raises(LlamaError, match="can't create a context"):
            Engine(model, config, None, model)
        assert any(each.n_ctx == 256 and each.n_batch > 1 for each in closed)
