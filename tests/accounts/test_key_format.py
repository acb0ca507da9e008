"""Format of API keys."""

from __future__ import annotations

import hashlib

import pytest

from shared.accounts.key_format import hash_of, is_key, new_key, redacted


@pytest.mark.parametrize("is_admin", [False, True])
def test_a_new_key_is_one(is_admin: bool) -> None:
    keys = {new_key(is_admin=is_admin) for _ in range(100)}
    assert len(keys) == 100
    assert all(is_key(key.encode()) for key in keys)
    assert all(key.startswith("sk-pilot-admin-") == is_admin for key in keys)


def test_a_wrong_character_is_noticed() -> None:
    key = new_key()
    for at in range(len(key)):
        wrong = key[:at] + ("a" if key[at] != "a" else "b") + key[at + 1 :]
        assert not is_key(wrong.encode())


@pytest.mark.parametrize("key", ["", "sk-pilot-proj-", "sk-proj-abc", "x" * 10**6, "é", "\n"])
def test_anything_else_is_no_key(key: str) -> None:
    assert not is_key(key.encode())
    assert not is_key(new_key().encode() + b"\n")


def test_a_key_is_shown_by_its_end() -> None:
    key = new_key()
    assert redacted(key) == f"sk-pilot-proj-...{key[-4:]}"
    assert hash_of(key.encode()) == hashlib.sha256(key.encode()).hexdigest()
