"""Counters of a project as a process sees them: changes that wait for a write, and shards.

A shard is a record, replaced on condition of its version. Whatever else a process has to write to
it meanwhile goes into its next write. Of processes whose writes collide all but one begin anew;
where that gets frequent, or many requests are in flight, the shard is split.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from shared.accounts.ledger.aggregates import aggregated
from shared.accounts.ledger.counters import MOST_SHARDS, Counters
from shared.accounts.ledger.group_commit import CommitQueue, Waiting
from shared.accounts.ledger.reservation import RefusedError
from shared.accounts.ledger.shard_records import OtherShards, ShardRecords
from shared.accounts.ledger.shards import (
    Shards,
    even_out,
    merged,
    next_shard,
    split,
    turn_all,
)
from shared.accounts.records import Record, Records
from shared.accounts.types import Clock
from shared.storage.base import StoreError, WouldBlockError

_ATTEMPTS = 50
_LONGEST_PAUSE = 0.5
"""Seconds, random up to that, after writes have collided."""
_MANY_COLLISIONS = 4
"""Of one write, from which on the shard has too many writers."""
_MANY_RESERVATIONS = 32
"""In a shard, beyond which it has too many: each write carries them all."""
_SPLIT_SECONDS = 1
"""After which a shard may be split again."""
_CROWDED_SECONDS = 10
"""The same if it is split for its reservations, which stay until they are settled."""

Change = Callable[[Shards, float], Any]
"""A change of counters at a time; what it returns, or raises, is for whoever asked."""


@dataclass(slots=True, kw_only=True)
class _Asked(Waiting):
    """A change, and what becomes of it."""

    change: Change
    reservation_id: str | None
    """What it reserves."""
    is_movable: bool
    """Whether any shard will do."""
    is_moved: bool = False
    """Whether it is to be made in another shard."""
    result: Any = None
    error: BaseException | None = None


@dataclass(slots=True)
class _Line:
    """Changes of one shard that wait, and what whoever leads knows of it."""

    queue: CommitQueue[_Asked]
    known: Record | None = None
    """The record as it was last seen, which saves reading it."""
    written: tuple[Record, Counters] | None = None
    """A record and what it says, which saves decoding it."""
    doubtful: list[str] = field(default_factory=list)
    """Reservations that nobody relies on, since the store failed; they may be there."""


class ProjectCounters:
    """The counters of one project. Blocking, for several threads; methods raise `StoreError`."""

    def __init__(self, records: Records, clock: Clock, project_id: str) -> None:
        self._records = records
        self._clock = clock
        self._id = project_id
        self._shards = ShardRecords(records, project_id)
        self._lines: dict[int, _Line] = {}
        """By shard."""
        self._seed = 0
        """What chooses the shard of new requests."""
        self._home: int | None = None
        """That shard; None until it is known how many there are."""
        self._n_users = 0
        self._lock = threading.Lock()

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is lost if it is forgotten."""
        with self._lock:
            return not self._n_users and not any(line.doubtful for line in self._lines.values())

    def make(
        self, change: Change, shard: int | None = None, *, reservation_id: str | None = None
    ) -> Any:
        """Have a change made in a shard, None for any; what it returns or raises."""
        with self._lock:
            self._n_users += 1
        try:
            while True:
                asked = _Asked(
                    change=change, reservation_id=reservation_id, is_movable=shard is None
                )
                self._wait_for(asked, shard)
                if asked.error is not None:
                    raise asked.error
                if not asked.is_moved:
                    return asked.result
        finally:
            with self._lock:
                self._n_users -= 1

    def make_nonblocking(
        self, change: Change, shard: int | None = None, *, reservation_id: str | None = None
    ) -> Any:
        """As `make`, for an event loop: a thread costs more than most changes do.

        Raises `WouldBlockError`, and has changed nothing, where it would have to wait or to read,
        or where there is more to write than one small record; `make` can do it then.
        """
        with self._lock:
            shard = self._home if shard is None else shard
            line = None if shard is None else self._lines.get(shard)
            if line is None or line.queue.has_leader or line.known is None or line.doubtful:
                raise WouldBlockError
            if len(line.known.value.get("reservations", ())) > _MANY_RESERVATIONS:
                raise WouldBlockError
            line.queue.has_leader = True
            self._n_users += 1
        try:
            return self._write_nonblocking(line, line.known, change, reservation_id)
        finally:
            line.queue.hand_over()
            with self._lock:
                self._n_users -= 1

    def total(self) -> Counters:
        """All shards together."""
        shards = [Counters.of(record.value) for record in self._shards.all().values()]
        return merged(shards, self._clock())

    def even_out(self, budget: int) -> None:
        """Let no shard have some of a budget left while others have spent too much."""
        for _ in range(MOST_SHARDS + _ATTEMPTS):
            records = self._shards.all()
            shards = [Counters.of(record.value) for record in records.values()]
            turn_all(shards, self._clock())
            changed = even_out(shards, budget)
            if not changed:
                return
            self._records.write([replace(records[c.shard], value=c.to_value()) for c in changed])
        raise self._too_many()

    def _wait_for(self, asked: _Asked, shard: int | None) -> None:
        """Put a change to those that wait, and write them if nobody else does."""
        if shard is None:
            shard = self._home if self._home is not None else self._find_home()
        with self._lock:
            line = self._lines.setdefault(shard, self._new_line())
        if line.queue.wait(asked):
            self._lead(line, shard)

    def _new_line(self, known: Record | None = None) -> _Line:
        return _Line(CommitQueue(self._lock), known)

    def _find_home(self) -> int:
        """Choose a shard for new requests; what is read on the way is known then."""
        seed, shard, known = random.getrandbits(32), 0, {}
        while True:
            known[shard] = self._shards.get(shard)
            found = next_shard(seed, shard, Counters.of(known[shard].value).divisor)
            if found == shard:
                break
            shard = found
        with self._lock:
            self._seed, self._home = seed, shard
            self._lines.setdefault(shard, self._new_line(known[shard]))
        return shard

    def _lead(self, line: _Line, shard: int) -> None:
        """Write all that waits, the leader's own change too, and hand over to who comes next."""
        batch = line.queue.take()
        try:
            self._write(line, shard, batch)
        except BaseException as error:
            line.known = None  # it may have been written
            line.doubtful += [each.reservation_id for each in batch if each.reservation_id]
            for asked in batch:
                asked.error = error
        line.queue.hand_over(batch)

    def _write(self, line: _Line, shard: int, batch: Sequence[_Asked]) -> None:
        """Make the changes of a batch in one write."""
        for attempt in range(_ATTEMPTS):
            if line.known is None:
                line.known = self._shards.get(shard)
            now = self._clock()
            home = Counters.of(line.known.value)
            if attempt and next_shard(self._seed, shard, home.divisor) != shard:
                self._move(home)
                for asked in batch:
                    asked.is_moved = asked.is_movable
                batch = [asked for asked in batch if not asked.is_moved]
                if not batch:
                    return
            others = OtherShards(self._shards, line.known)
            shards = Shards(home, others.load)
            home.take_back_expired(now)
            for reservation_id in line.doubtful:
                home.release(reservation_id)
            for asked in batch:
                asked.result = asked.error = None
                try:
                    asked.result = asked.change(shards, now)
                except Exception as error:
                    asked.error = error
            if all(asked.error is not None for asked in batch):
                if attempt or self._is_current(line, shard):
                    return  # there is nothing to write
                continue
            usage = aggregated(self._records, self._id, home.take_pending(now))
            new = self._split_off(home, attempt, now)
            version = line.known.version
            record = Record(line.known.place, home.to_value(), version)
            changed = [others.changed(each) for each in shards.changed_others]
            if self._records.write([record, *new, *changed, *usage]):
                line.known = Record(record.place, record.value, version + 1)
                line.doubtful = []
                self._move(home)
                return
            line.known = None
            if attempt:
                time.sleep(random.uniform(0, min(0.002 * 2**attempt, _LONGEST_PAUSE)))
        raise self._too_many()

    def _write_nonblocking(
        self, line: _Line, known: Record, change: Change, reservation_id: str | None
    ) -> Any:
        """Make one change in one write of the record that is known."""
        now = self._clock()
        written, line.written = line.written, None  # it is going to be changed
        if written is not None and written[0] is known:
            home = written[1]
        else:
            home = Counters.of(known.value)
        shards = Shards(home, _would_block)
        home.take_back_expired(now)
        try:
            result = change(shards, now)
        except RefusedError as error:  # by what may have changed since it was seen
            raise WouldBlockError from error
        if shards.changed_others or home.take_pending(now) or self._split_off(home, 0, now):
            raise WouldBlockError
        record = Record(known.place, home.to_value(), known.version)
        try:
            is_written = self._records.write_nonblocking(record)
        except StoreError:
            line.known = None  # it may have been written
            line.doubtful += [reservation_id] if reservation_id else []
            raise
        if not is_written:
            line.known = None
            raise WouldBlockError
        line.known = Record(record.place, record.value, known.version + 1)
        line.written = (line.known, home)
        self._move(home)
        return result

    def _split_off(self, home: Counters, n_collisions: int, now: float) -> Sequence[Record]:
        """Split a shard that has too many writers, or too many reservations, if it may be."""
        is_crowded = len(home.reservations) > _MANY_RESERVATIONS
        if (n_collisions < _MANY_COLLISIONS and not is_crowded) or home.divisor == MOST_SHARDS:
            return ()
        pause = _CROWDED_SECONDS if is_crowded else _SPLIT_SECONDS
        if home.split_at <= now < home.split_at + pause:
            return ()
        other = split(home, now)
        return (Record(self._shards.place(other.shard), other.to_value()),)

    def _move(self, written: Counters) -> None:
        """Take new requests elsewhere if the shard has too many, or is no longer that one."""
        with self._lock:
            if written.shard != self._home:
                return
            if written.divisor > 1 and len(written.reservations) > _MANY_RESERVATIONS:
                self._home = None
            elif self._seed % written.divisor != written.shard:
                self._home = next_shard(self._seed, written.shard, written.divisor)

    def _is_current(self, line: _Line, shard: int) -> bool:
        """Whether nobody refuses by what has changed since it was seen."""
        seen, line.known = line.known, self._shards.get(shard)
        return seen is not None and seen.version == line.known.version

    def _too_many(self) -> StoreError:
        return StoreError(f"the counters of project '{self._id}' are changed by too many at once")


def _would_block() -> NoReturn:
    raise WouldBlockError
