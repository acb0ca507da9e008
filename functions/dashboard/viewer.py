"""Viewer of a page: an administrator, a project, or anybody where no key is needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from functions.dashboard.session import COOKIE, Session, Sessions
from shared.runtime.caller import ANONYMOUS, Caller

if TYPE_CHECKING:
    from starlette.requests import Request

    from shared.accounts.types import Project
    from shared.runtime.state import ServerState


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks. ``session`` is None where no key is needed.

    ``caller`` is what the API would take them for: a project sees what its keys see.
    """

    caller: Caller
    session: Session | None

    @property
    def is_admin(self) -> bool:
        """Whether everything is shown, of all projects."""
        return self.caller.is_admin

    @property
    def project(self) -> Project | None:
        """The project whose key was pasted; None for others."""
        return self.caller.holder.project if self.caller.holder is not None else None

    @property
    def name(self) -> str:
        """What pages call the viewer."""
        holder = self.caller.holder
        if holder is None:
            return self.caller.key_id or "open access"
        return holder.project.name if holder.project is not None else "Administrator"

    @property
    def key_name(self) -> str | None:
        """The name of the key that was pasted; None where it has none."""
        return None if self.caller.holder is None else self.caller.holder.key.name


async def viewer_of(request: Request, state: ServerState, sessions: Sessions) -> Viewer | None:
    """Who sends ``request``, None for nobody who has signed in; raises `StoreError`."""
    if not state.settings.needs_key:
        return Viewer(ANONYMOUS, None)
    session = await sessions.read(request.cookies.get(COOKIE, ""))
    caller = None if session is None else await sessions.caller(session)
    return None if caller is None else Viewer(caller, session)
