"""Compatibility of a draft model with the model that it drafts for: one vocabulary.

The rules are those of llama.cpp's ``common_speculative_are_compatible``.
"""

from __future__ import annotations

from shared.engine.llama.bindings import lib
from shared.engine.llama.model import Model

_MOST_DIFFERENT = 128
"""Tokens that one vocabulary may have more (SPEC_VOCAB_MAX_SIZE_DIFFERENCE): padding, mostly."""
_FIRST_COMPARED = 5
"""The first token whose text counts (SPEC_VOCAB_CHECK_START_TOKEN_ID)."""


def draft_problem(target: Model, draft_model: Model) -> str | None:
    """Why a model can't draft for another one, in words; None if it can."""
    if target.is_recurrent:
        return (
            "the model that it drafts for has a recurrent state, which can't be cut back to what "
            "is accepted: it can have no drafts"
        )
    if draft_model.is_recurrent:
        return "it has a recurrent state, which can't be cut back to what is accepted"
    problem = _vocabulary_problem(target, draft_model)
    if problem is None:
        return None
    return f"its vocabulary is not that of the model that it drafts for: {problem}"


def _vocabulary_problem(target: Model, draft_model: Model) -> str | None:
    if lib.llama_vocab_type(target.vocab) != lib.llama_vocab_type(draft_model.vocab):
        return "it is of another type"
    for name, adds, token in (
        ("BOS", lib.llama_vocab_get_add_bos, lib.llama_vocab_bos),
        ("EOS", lib.llama_vocab_get_add_eos, lib.llama_vocab_eos),
    ):
        is_added = adds(target.vocab)
        if is_added != adds(draft_model.vocab):
            return f"one of them adds {name} to prompts"
        if is_added and token(target.vocab) != token(draft_model.vocab):
            return f"{name} is another token"
    sizes = target.n_vocab, draft_model.n_vocab
    if abs(sizes[0] - sizes[1]) > _MOST_DIFFERENT:
        return f"it has {sizes[1]} tokens instead of {sizes[0]}"
    text = lib.llama_vocab_get_text
    for i in range(_FIRST_COMPARED, min(sizes)):
        expected, found = text(target.vocab, i), text(draft_model.vocab, i)
        if expected != found:
            return f"token {i} is {_shown(found)} instead of {_shown(expected)}"
    return None


def _shown(text: bytes) -> str:
    return repr(text.decode("utf-8", "replace"))
