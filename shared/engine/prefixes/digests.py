"""Hashes that stand for several texts, and for tenants in the paths of a store.

Apart from the keys of prompts, so that who only deletes files needs no engine.
"""

from __future__ import annotations

import hashlib


def digest(*parts: bytes) -> bytes:
    """32 bytes that stand for ``parts``, and not for their concatenation."""
    hashed = hashlib.blake2b(digest_size=32)
    for part in parts:
        hashed.update(len(part).to_bytes(8, "little"))
        hashed.update(part)
    return hashed.digest()


def tenant_path(tenant: str) -> str:
    """The part of a store that is a tenant's."""
    return digest(b"tenant", tenant.encode())[:16].hex()
