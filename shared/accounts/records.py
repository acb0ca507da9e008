"""Records of accounts: JSON documents with versions, changed all at once or not at all.

What differs between SQLite and DynamoDB ends here: everything that is known of accounts is written
in terms of these few operations, once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from shared.storage.base import WouldBlockError


class Place(NamedTuple):
    """What a record is found by: partitions are separate, keys are in order within one."""

    partition: str
    key: str


@dataclass(frozen=True, slots=True)
class Record:
    """A document. ``version`` counts its changes; that of a new one is 0."""

    place: Place
    value: Mapping[str, Any]
    version: int = 0


class Records(ABC):
    """Keeps records. Blocking, and safe to use from several threads and processes.

    What `write` has returned from is kept, and seen by whoever reads next. All methods raise
    `shared.storage.base.StoreError`.
    """

    @abstractmethod
    def get_all(self, places: Sequence[Place]) -> dict[Place, Record]:
        """Those of up to 100 different records that there are."""

    @abstractmethod
    def list(
        self,
        partition: str,
        prefix: str,
        *,
        limit: int,
        after: str | None = None,
        descending: bool = False,
    ) -> Sequence[Record]:
        """Up to ``limit`` records of a partition whose keys begin with ``prefix``, in order.

        ``after``: only those that follow this key in the order, be there one or not.
        """

    @abstractmethod
    def write(self, puts: Sequence[Record], removals: Sequence[Record] = ()) -> bool:
        """Put and remove up to 100 different records, all or none.

        False, without any change, if one is not there in the version that it has here; 0 says that
        there is none.
        """

    def write_nonblocking(self, record: Record) -> bool:  # noqa: ARG002  (SQLite has an answer)
        """As `write` of one record, for an event loop: it waits for nobody and for no disk.

        Raises `WouldBlockError`, and has changed nothing, where it would have to.
        """
        raise WouldBlockError

    @abstractmethod
    def initialize(self) -> None:
        """Create what is needed (file, table), where it is missing."""

    def warm_up(self) -> None:  # noqa: B027  (SQLite has nothing to do)
        """Load what calls need, without making one, so that the first takes no longer."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections."""

    def get(self, place: Place) -> Record | None:
        """A record, None where there is none."""
        return self.get_all([place]).get(place)
