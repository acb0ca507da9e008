"""Records of a project's shards of counters: where they are, and how all of them are found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from shared.accounts.ledger.counters import Counters
from shared.accounts.ledger.shards import children
from shared.accounts.records import Place, Record, Records
from shared.storage.base import StoreError


class ShardRecords:
    """The records of one project's shards. Blocking; methods raise `StoreError`."""

    def __init__(self, records: Records, project_id: str) -> None:
        self._records = records
        self._id = project_id

    def all(self) -> dict[int, Record]:
        """All shards."""
        return self.all_with({0: self.get(0)})

    def all_with(self, known: Mapping[int, Record]) -> dict[int, Record]:
        """All shards; those that are ``known`` are not read."""
        found: dict[int, Record] = {}
        wanted = [0]
        while wanted:
            missing = [self.place(shard) for shard in wanted if shard not in known]
            read = self._records.get_all(missing) if missing else {}
            if len(read) < len(missing):
                raise self._is_missing()
            found |= {s: known[s] if s in known else read[self.place(s)] for s in wanted}
            wanted = [
                child
                for shard in wanted
                for child in children(shard, Counters.of(found[shard].value).divisor)
            ]
        return found

    def get(self, shard: int) -> Record:
        """A shard's record; that of the first one is new where there is none."""
        place = self.place(shard)
        record = self._records.get(place)
        if record is None and shard:
            raise self._is_missing()
        return record or Record(place, {})

    def _is_missing(self) -> StoreError:
        return StoreError(f"some counters of project '{self._id}' are missing")

    def place(self, shard: int) -> Place:
        """Where a shard is."""
        return counters_place(self._id, shard)


class OtherShards:
    """The shards beside the one that is written, read where they are needed."""

    def __init__(self, shards: ShardRecords, home: Record) -> None:
        self._shards = shards
        self._home = home
        self._records: dict[int, Record] = {}

    def load(self) -> Sequence[Counters]:
        """Their counters."""
        shard = Counters.of(self._home.value).shard
        self._records = self._shards.all_with({shard: self._home})
        return [Counters.of(r.value) for s, r in self._records.items() if s != shard]

    def changed(self, counters: Counters) -> Record:
        """The record to be written for one."""
        return replace(self._records[counters.shard], value=counters.to_value())


def counters_place(project_id: str, shard: int = 0) -> Place:
    """Where a shard of a project's counters is: in a partition of its own."""
    return (
        Place(f"counters:{project_id}", "0")
        if not shard
        else Place(f"counters:{project_id}:{shard}", "0")
    )
