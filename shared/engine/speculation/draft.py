"""Draft: tokens that may come next in a sequence, and how many of them did."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Draft:
    """Tokens that a step evaluates behind a sequence's last one.

    - ``chances``: the estimated probability that all tokens up to each are accepted.
    - ``is_predicted``: they are from the request's ``prediction``.
    """

    tokens: list[int]
    chances: list[float]
    is_predicted: bool = False
    n_accepted: int = 0

    def foretells(self, token: int) -> bool:
        """Whether ``token`` is the first that was not accepted yet."""
        return self.n_accepted < len(self.tokens) and self.tokens[self.n_accepted] == token

    def cut(self, n_tokens: int) -> Draft:
        """The first ``n_tokens`` tokens."""
        return Draft(self.tokens[:n_tokens], self.chances[:n_tokens], self.is_predicted)
