"""Interface of stores of completions: what every one promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from shared.storage.types import CompletionQuery, Kind, Page, StoredCompletion


class StoreError(Exception):
    """The store could not do it, within its budget of retries; the text says why."""


class WouldBlockError(Exception):
    """A nonblocking call would have had to wait. Nothing was changed."""


class DamagedCompletionError(StoreError):
    """What is stored of one completion can't be read, whereas the store itself answers.

    ``completion_id`` is whose it is, as it can be shown; the text says where that is, and why.
    """

    def __init__(self, completion_id: str, place: str, reason: object) -> None:
        # What is damaged may be the id itself.
        shown = completion_id if completion_id.isprintable() else ascii(completion_id)
        super().__init__(f"completion {shown} in {place} is damaged: {reason}")
        self.completion_id = shown


class CompletionStore(ABC):
    """Keeps completions. Blocking, and safe to use from several threads.

    What `put` has returned from is kept, whatever happens to the process. What `list` and `get`
    show is whole. A tenant sees its own completions and nobody else's; an expired completion is
    gone, whether or not it was cleared away yet. All methods raise `StoreError`, those that are
    about one completion `DamagedCompletionError` if it is damaged: `list` passes over it, `delete`
    deletes it.
    """

    @abstractmethod
    def put(self, completion: StoredCompletion) -> None:
        """Keep ``completion``. Idempotent by tenant and id."""

    @abstractmethod
    def get(self, tenant: str, kind: Kind, completion_id: str) -> StoredCompletion | None:
        """A completion, None where the tenant has none of that id."""

    @abstractmethod
    def list(self, query: CompletionQuery) -> Page:
        """A page of completions; what it reads grows with the page, not with what is stored."""

    @abstractmethod
    def update_metadata(
        self, tenant: str, kind: Kind, completion_id: str, metadata: Mapping[str, str]
    ) -> StoredCompletion | None:
        """Replace the metadata; the completion as it is then, None where there is none."""

    @abstractmethod
    def delete(self, tenant: str, kind: Kind, completion_id: str) -> bool:
        """Delete a completion with its body; whether there was one."""

    @abstractmethod
    def initialize(self) -> None:
        """Create what the store needs (tables, bucket), where it is missing."""

    @abstractmethod
    def sweep(self) -> int:
        """Clear away what nobody can reach any more, and say how many completions that was.

        Expired ones, where the store does not do that by itself, and what deletions that were cut
        off have left.
        """

    def warm_up(self) -> None:  # noqa: B027  (most stores have nothing to do)
        """Load what calls need, without making one, so that the first takes no longer."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections."""
