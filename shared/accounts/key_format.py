"""Format of API keys: how they are made, recognized, hashed and shown.

A key ends with a checksum, as GitHub's tokens do. So what is no key never reaches the store, whose
calls cost money, and a scanner for leaked secrets knows one with certainty.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_N_RANDOM = 43
"""Characters of 62: 256 bits."""
_N_CHECKSUM = 6
"""Characters: 62**6 is above 2**32."""
_SHOWN_END = 4

PROJECT_PREFIX = "sk-pilot-proj-"
ADMIN_PREFIX = "sk-pilot-admin-"

_KEY = re.compile(
    rf"(?:{PROJECT_PREFIX}|{ADMIN_PREFIX})[0-9A-Za-z]{{{_N_RANDOM + _N_CHECKSUM}}}".encode()
)


def new_key(*, is_admin: bool = False) -> str:
    """A key that nobody can guess."""
    prefix = ADMIN_PREFIX if is_admin else PROJECT_PREFIX
    body = prefix + "".join(secrets.choice(_ALPHABET) for _ in range(_N_RANDOM))
    return body + _checksum(body.encode())


def is_key(key: bytes) -> bool:
    """Whether ``key`` may have been made by `new_key`."""
    return _KEY.fullmatch(key) is not None and key[-_N_CHECKSUM:] == (
        _checksum(key[:-_N_CHECKSUM]).encode()
    )


def hash_of(key: bytes) -> str:
    """SHA-256, in hexadecimal digits: all that is kept of a key.

    Enough for keys that are random; passwords would need a slow hash.
    """
    return hashlib.sha256(key).hexdigest()


def redacted(key: str) -> str:
    """What lists show of a key, for its holder to recognize."""
    prefix = ADMIN_PREFIX if key.startswith(ADMIN_PREFIX) else PROJECT_PREFIX
    return f"{prefix}...{key[-_SHOWN_END:]}"


def _checksum(body: bytes) -> str:
    """CRC-32 in base 62."""
    number = zlib.crc32(body)
    digits = ""
    for _ in range(_N_CHECKSUM):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
