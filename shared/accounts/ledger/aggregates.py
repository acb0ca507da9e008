"""Usage by minute and by day, which is added up from what requests have come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from shared.accounts.ledger.usage import (
    Group,
    Usage,
    bounded,
    days,
    merged,
    usage_of,
    usage_to_value,
)
from shared.accounts.records import Place, Record, Records


def read_aggregates(
    records: Records, project_id: str, key_prefix: str, start: int, end: int
) -> dict[int, dict[Group, Usage]]:
    """Usage by the beginnings of minutes (``m``) or days (``d``) from ``start`` to ``end``."""
    found: dict[int, dict[Group, Usage]] = {}
    partition = usage_place(project_id, key_prefix, 0).partition
    after = usage_place(project_id, key_prefix, start - 1).key
    while page := records.list(partition, key_prefix, limit=100, after=after):
        for record in page:
            after = record.place.key
            begins = int(after[1:])
            if begins >= end:
                return found
            found[begins] = usage_of(record.value["groups"])
    return found


def aggregated(
    records: Records, project_id: str, minutes: Mapping[int, Mapping[Group, Usage]]
) -> Sequence[Record]:
    """The records of minutes and days, with the usage of ``minutes`` added."""
    added = [(usage_place(project_id, "m", minute), groups) for minute, groups in minutes.items()]
    added += [(usage_place(project_id, "d", day), groups) for day, groups in days(minutes)]
    there = records.get_all([place for place, _ in added]) if added else {}
    changed: list[Record] = []
    for place, groups in added:
        record = there.get(place) or Record(place, {"groups": []})
        total = bounded(merged(usage_of(record.value["groups"]), groups))
        changed.append(replace(record, value={"groups": usage_to_value(total)}))
    return changed


def usage_place(project_id: str, prefix: str, begins: int) -> Place:
    """Where the usage of a minute (``m``) or a day (``d``) is."""
    return Place(f"usage:{project_id}", f"{prefix}{begins:011d}")
