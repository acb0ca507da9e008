"""Drafter: what may come next in one sequence, by its prediction and by what it has said.

And how far a draft model, if there is one, was right about it.
"""

from __future__ import annotations

import numpy as np

from shared.engine.llama.tokenizer import TokenArray
from shared.engine.speculation.draft import Draft
from shared.engine.speculation.lookup import Lookup
from shared.engine.speculation.model_rates import ModelRates
from shared.engine.speculation.texts import DraftTexts

_PROMISED = 8
"""The length of a match that a prediction's beginning counts as."""


class Drafter:
    """Follows a sequence's tokens, whenever it is asked for a draft."""

    def __init__(self, texts: DraftTexts, n_tokens: int, *, looks_up: bool) -> None:
        """For a prompt and an answer of up to ``n_tokens`` tokens together.

        ``looks_up``: drafts come from these, too, not from the prediction alone.
        """
        self.model_rates: ModelRates | None = None
        self._prediction: Lookup | None = None
        self._lookups: list[Lookup] = []
        if not (texts.has_prediction or looks_up):
            return
        prompt = texts.prompt
        self._history: TokenArray = np.empty(n_tokens, dtype=np.int32)
        self._history[: len(prompt)] = prompt
        self._n_prompt = self._n_history = len(prompt)
        if texts.has_prediction:
            self._prediction = Lookup(texts.indexed_prediction, self._history, grows=False)
            self._prediction.start(_PROMISED)
            self._lookups.append(self._prediction)
        if looks_up:
            self._lookups.append(Lookup(texts.indexed_prompt, self._history, grows=True))

    def draft(self, sampled: list[int], n_tokens: int) -> Draft | None:
        """The most promising draft of up to ``n_tokens`` tokens behind those ``sampled`` so far.

        None where nothing is known of what comes next.
        """
        if not self._lookups:
            return None
        for token in sampled[self._n_history - self._n_prompt :]:
            self._history[self._n_history] = token
            self._n_history += 1
            for lookup in self._lookups:
                lookup.follow(self._n_history)
        best: Draft | None = None
        for lookup in self._lookups:
            draft = lookup.draft(n_tokens)
            if draft is not None and (best is None or sum(draft.chances) > sum(best.chances)):
                draft.is_predicted = lookup is self._prediction
                best = draft
        return best
