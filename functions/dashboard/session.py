"""Sessions of the dashboard: signed cookies, with which a server need not keep anything.

A cookie says whose key was pasted and until when it holds, and has no key. It is signed with a
secret that all instances share (`shared.accounts.shared_secret`). Where nothing is stored there is
no place for one: each process has its own then, and its end ends the sessions.

The key has to be valid at each request: revoking it ends its sessions, as fast as it ends requests
to the API, within 30 s.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from itsdangerous import URLSafeSerializer

    from shared.runtime.caller import Caller
    from shared.runtime.state import ServerState

COOKIE = "pilotlight_session"
SECONDS = 12 * 3600
"""How long a session lasts: a working day."""

_SECRET = "dashboard"
_SALT = "pilotlight.dashboard.session"
_MAX_HASHES = 10_000
_LONGEST_COOKIE = 2000
"""Characters."""

Role = Literal["admin", "project", "settings"]
"""What the key was: an administrator's, a project's, or one from the settings."""


@dataclass(frozen=True, slots=True)
class Session:
    """Whose key was pasted. ``expires_at``: Unix seconds; ``id``: random, for CSRF tokens."""

    id: str
    role: Role
    key_id: str
    project_id: str | None
    expires_at: int


class Sessions:
    """Issues sessions and reads their cookies. Used on an event loop."""

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._secret: bytes | None = None
        self._hashes: OrderedDict[str, str] = OrderedDict()
        """Of keys by their ids, which never change."""

    async def secret(self) -> bytes:
        """What cookies and CSRF tokens are signed with; raises `StoreError`."""
        if self._secret is None:
            settings = self._state.settings
            if settings.store == "none" or not settings.needs_key:
                self._secret = secrets.token_bytes(32)
            else:
                self._secret = await self._state.stores.in_accounts(lambda a: a.secret(_SECRET))
        return self._secret

    async def issue(self, caller: Caller) -> tuple[Session, str]:
        """A new session of the caller's and its cookie; raises `StoreError`."""
        holder = caller.holder
        project = holder.project if holder is not None else None
        session = Session(
            id=secrets.token_urlsafe(16),
            role="settings" if holder is None else "admin" if project is None else "project",
            key_id=caller.key_id or "",
            project_id=None if project is None else project.id,
            expires_at=int(self._state.clock()) + SECONDS,
        )
        return session, str((await self._serializer()).dumps(asdict(session)))

    async def read(self, cookie: str) -> Session | None:
        """The session of a cookie, None if it is forged, damaged or expired.

        Raises `StoreError`.
        """
        from itsdangerous import BadData

        if not cookie or len(cookie) > _LONGEST_COOKIE:
            return None
        try:
            values: dict[str, Any] = (await self._serializer()).loads(cookie)
            session = Session(**values)
        except (BadData, TypeError):
            return None
        return session if session.expires_at > self._state.clock() else None

    async def caller(self, session: Session) -> Caller | None:
        """Whose session it is, None if the key is not valid any more; raises `StoreError`."""
        if session.role == "settings":
            return self._state.keys.named(session.key_id)
        if self._state.key_cache is None:
            return None  # accounts were switched off
        key_hash = await self._hash(session)
        caller = None if key_hash is None else await self._state.key_cache.caller_of_hash(key_hash)
        if caller is None or caller.holder is None or caller.key_id != session.key_id:
            return None
        project = caller.holder.project
        return caller if session.project_id == (project and project.id) else None

    async def _hash(self, session: Session) -> str | None:
        """The hash of the session's key, None if there is no such key."""
        from shared.accounts.types import UnknownAccountError

        found = self._hashes.get(session.key_id)
        if found is None:
            try:
                key = await self._state.stores.in_accounts(
                    lambda accounts: accounts.keys.get(session.project_id, session.key_id)
                )
            except UnknownAccountError:
                return None
            found = self._hashes[session.key_id] = key.hash
            if len(self._hashes) > _MAX_HASHES:
                self._hashes.popitem(last=False)
        return found

    async def _serializer(self) -> URLSafeSerializer:
        import hashlib

        from itsdangerous import URLSafeSerializer

        return URLSafeSerializer(
            await self.secret(),
            salt=_SALT,
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )
