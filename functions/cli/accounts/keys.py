"""``pilotlight keys``: API keys of projects, and admin keys."""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator
from typing import Any

from functions.cli.accounts.administration import Administration, AdministrationError
from functions.cli.accounts.output import print_json, show
from functions.cli.accounts.projects import find_project
from functions.cli.table import print_rows, safe, shown_time

_ADMIN_KEYS = "admin_api_keys"

Key = tuple[str, dict[str, Any]]
"""A key, and the name of its project: empty for admin keys."""


def create_key(admin: Administration, options: argparse.Namespace) -> None:
    """Create a key, which is printed this once."""
    body = {"name": options.name}
    if options.expires is not None:
        body["expires_in_seconds"] = options.expires
    if options.admin:
        whose = "an admin key"
        key = admin.ask("POST", _ADMIN_KEYS, body=body)
    else:
        project = find_project(admin, options.project)
        whose = f"a key of project '{project['name']}'"
        account = admin.ask("POST", "projects", project["id"], "service_accounts", body=body)
        key = account["api_key"]
    digest = hashlib.sha256(key["value"].encode()).hexdigest()
    if options.json:
        print_json({**key, "sha256": digest})
        return
    ends = f", until {shown_time(key['expires_at'])} UTC" if key["expires_at"] else ""
    print(f"This is {safe(whose)}{ends}; it is shown this once:", file=sys.stderr)
    print(key["value"], flush=True)
    print(f"Its id is {key['id']}, its SHA-256 {digest}.", file=sys.stderr)
    print(
        f"Try it, where 'pilotlight serve --accounts true' runs:\n\n{_curl(options, key)}",
        file=sys.stderr,
    )


def _curl(options: argparse.Namespace, key: dict[str, Any]) -> str:
    base = (options.url or "http://127.0.0.1:8000").removesuffix("/").removesuffix("/v1")
    authorization = f'-H "Authorization: Bearer {key["value"]}"'
    if options.admin:
        return f"  curl {base}/v1/organization/projects {authorization}"
    body = '{"messages": [{"role": "user", "content": "Hello!"}]}'
    return (
        f"  curl {base}/v1/chat/completions \\\n    {authorization} \\\n"
        f"    -H \"Content-Type: application/json\" -d '{body}'"
    )


def list_keys(admin: Administration, options: argparse.Namespace) -> None:
    """A table of keys, without their secrets."""
    found = list(_keys(admin, options.project, is_admin=options.admin))
    if options.json:
        print_json([key for _, key in found])
        return
    if not found:
        print("no keys; 'pilotlight keys create' makes one", file=sys.stderr)
        return
    print_rows(
        ("id", "project", "name", "key", "created (UTC)", "last used (UTC)", "ends (UTC)"),
        [
            (
                key["id"],
                project or "(admin)",
                key["name"],
                key["redacted_value"],
                shown_time(key["created_at"]),
                shown_time(key["last_used_at"]),
                _end(key),
            )
            for project, key in found
        ],
    )


def _end(key: dict[str, Any]) -> str:
    if key.get("owner_project_access") == "inactive":
        return "inactive"
    return shown_time(key["expires_at"])


def revoke_keys(admin: Administration, options: argparse.Namespace) -> None:
    """Delete keys, wherever they are."""
    missing = set(options.ids)
    for project in admin.items("projects"):
        for key in list(admin.items("projects", project["id"], "api_keys")):
            if key["id"] in missing:
                missing.remove(key["id"])
                deleted = admin.ask("DELETE", "projects", project["id"], "api_keys", key["id"])
                show(options, deleted, f"revoked {key['id']}: it stops within 30 s")
    for key in list(admin.items(_ADMIN_KEYS)):
        if key["id"] in missing:
            missing.remove(key["id"])
            deleted = admin.ask("DELETE", _ADMIN_KEYS, key["id"])
            show(options, deleted, f"revoked {key['id']}: it stops within 30 s")
    if missing:
        raise AdministrationError(f"there is no key '{min(missing)}'")


def _keys(admin: Administration, project: str | None, *, is_admin: bool) -> Iterator[Key]:
    """Keys of a project, the admin keys, or all."""
    if project is None:
        for key in admin.items(_ADMIN_KEYS):
            yield "", key
        if is_admin:
            return
    chosen = admin.items("projects") if project is None else [find_project(admin, project)]
    for each in chosen:
        for key in admin.items("projects", each["id"], "api_keys"):
            yield each["name"], key
