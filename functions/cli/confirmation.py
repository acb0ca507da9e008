"""Confirmation: a question before something is gone for good."""

from __future__ import annotations


def confirmed(question: str) -> bool:
    """Whether the answer is yes; no input is no answer."""
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        print()  # nobody has ended the question's line
        return False
