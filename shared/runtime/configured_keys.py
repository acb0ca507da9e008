"""API keys from settings: kept as hashes, compared in constant time, each a tenant of its own."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from shared.runtime.caller import Caller


class ConfiguredKeys:
    """API keys that a server accepts without asking a store.

    A key is its own tenant. Both are named after the key's hash, of which they show too little to
    tell anything of the key.
    """

    def __init__(self, keys: Sequence[str], hashes: Sequence[str] = ()) -> None:
        """``hashes``: SHA-256 of further keys, in hexadecimal digits."""
        digests = [hashlib.sha256(key.encode()).digest() for key in keys]
        digests += map(bytes.fromhex, hashes)
        self._callers = [(digest, _key_owner(digest)) for digest in digests]

    def __bool__(self) -> bool:
        return bool(self._callers)

    def owner(self, key: bytes) -> Caller | None:
        """Whose ``key`` is, None if it is nobody's; takes as long whichever it is."""
        digest = hashlib.sha256(key).digest()
        found = [hmac.compare_digest(digest, known) for known, _ in self._callers]
        owners = [owner for (_, owner), equal in zip(self._callers, found, strict=True) if equal]
        return owners[0] if owners else None

    def named(self, key_id: str) -> Caller | None:
        """Who has the key with this id, None if there is none."""
        return next((owner for _, owner in self._callers if owner.key_id == key_id), None)

    @property
    def tenants(self) -> list[str]:
        """The keys' tenants."""
        return [owner.tenant for _, owner in self._callers]


def _key_owner(digest: bytes) -> Caller:
    name = f"key-{digest.hex()[:16]}"
    return Caller(tenant=name, key_id=name)
