"""Shared secret: random bytes that all processes of a deployment have, and nobody else.

They lie in the records of accounts, which all of them read, so that no file and no setting has to
hold one. Hashes of keys would be there as well, but are no secrets: settings and templates show
them.
"""

from __future__ import annotations

import secrets

from shared.accounts.records import Place, Record, Records

_BYTES = 32


def shared_secret(records: Records, name: str) -> bytes:
    """The secret ``name``, made at the first call of all processes; raises `StoreError`."""
    place = Place("secrets", name)
    found = records.get(place)
    if found is None:
        records.write([Record(place, {"secret": secrets.token_hex(_BYTES)})])
        found = records.get(place)  # another process may have been faster
    assert found is not None
    return bytes.fromhex(found.value["secret"])
