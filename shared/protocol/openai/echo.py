"""``echo`` of text completions: the prompt itself, and its log probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.engine.types import TokenLogprobs
from shared.protocol.logprobs import TextColumns, TokenTexts
from shared.protocol.responses import TextLogprobs


@dataclass(frozen=True, slots=True)
class Echo:
    """One prompt: its text as the caller wrote it, and its tokens.

    In the text control tokens are written out. ``hides_first``: the first token, the beginning of
    the text, is not part of it.
    """

    text: str
    tokens: Sequence[int]
    hides_first: bool = False

    def logprobs(
        self,
        prompt: Sequence[TokenLogprobs | None],
        completion: Sequence[TokenLogprobs],
        texts: TokenTexts,
    ) -> TextLogprobs:
        """The columns of prompt and completion; the first token's log probability is null."""
        columns = TextColumns(texts, -1 if self._has_space_in_front(texts) else 0)
        columns.add_first(self.tokens[0], is_visible=not self.hides_first)
        for scored in prompt:
            if scored is not None:
                columns.add(scored, is_visible=True)
        found = columns.columns
        behind = TextColumns(texts, len(self.text))
        behind.columns = found
        for sampled in completion:
            behind.add(sampled, is_visible=not texts.is_control(sampled.sampled.token))
        return found

    def _has_space_in_front(self, texts: TokenTexts) -> bool:
        """Whether the tokens have a space before the text, as SentencePiece's tokenizers put it."""
        visible = self.tokens[self.hides_first :]
        if not visible or not texts.render(visible[0], special=True).startswith(b" "):
            return False
        written = b"".join(texts.render(token, special=True) for token in visible)
        return written.decode("utf-8", "replace") == f" {self.text}"
