"""``pilotlight projects`` and ``pilotlight keys``: accounts in the terminal."""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from functions.cli.accounts.administration import (
    Administration,
    AdministrationError,
    administration,
)
from functions.cli.confirmation import confirmed
from functions.cli.interruption import INTERRUPTED, interruptible
from functions.cli.table import print_rows, safe, shown_time
from shared.config.configuration import flag
from shared.config.settings import Settings

_ADMIN_KEYS = "admin_api_keys"

Key = tuple[str, dict[str, Any]]
"""A key, and the name of its project: empty for admin keys."""


def accounts(settings: Settings, options: argparse.Namespace) -> int:
    """Run the command and action that ``options`` name; returns the exit status."""
    actions: dict[tuple[str, str], Callable[[Administration, argparse.Namespace], None]] = {
        ("projects", "create"): _create_project,
        ("projects", "list"): _list_projects,
        ("projects", "rename"): _rename_project,
        ("projects", "archive"): _archive_project,
        ("projects", "models"): _models,
        ("keys", "create"): _create_key,
        ("keys", "list"): _list_keys,
        ("keys", "revoke"): _revoke_keys,
    }
    try:
        with interruptible():
            if options.url is not None:
                for name in ("store", "data_dir"):
                    if name in options:
                        message = f"with --url it is the server that has the store: no {flag(name)}"
                        raise AdministrationError(message)
            with administration(settings, options.url) as admin:
                actions[options.command, options.action](admin, options)
    except AdministrationError as error:
        print(f"pilotlight: {safe(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _create_project(admin: Administration, options: argparse.Namespace) -> None:
    project = admin.ask("POST", "projects", body={"name": options.name})
    _show(options, project, f"created project {project['id']}")


def _list_projects(admin: Administration, options: argparse.Namespace) -> None:
    found = list(admin.items("projects", include_archived=options.archived))
    if options.json:
        _print_json(found)
        return
    if not found:
        print("no projects; 'pilotlight projects create NAME' makes one", file=sys.stderr)
        return
    print_rows(
        ("id", "name", "created (UTC)", "archived (UTC)"),
        [
            (p["id"], p["name"], shown_time(p["created_at"]), shown_time(p["archived_at"]))
            for p in found
        ],
    )


def _rename_project(admin: Administration, options: argparse.Namespace) -> None:
    project_id = _project(admin, options.project)["id"]
    project = admin.ask("POST", "projects", project_id, body={"name": options.name})
    _show(options, project, f"project {project_id} is '{project['name']}' now")


def _archive_project(admin: Administration, options: argparse.Namespace) -> None:
    project = _project(admin, options.project)
    question = f"Archive project '{safe(project['name'])}' ({project['id']}) for good? [y/N] "
    if not options.yes and not confirmed(question):
        raise AdministrationError("nothing was archived")
    archived = admin.ask("POST", "projects", project["id"], "archive")
    _show(options, archived, f"archived {project['id']}: its keys stop within 30 s")


def _models(admin: Administration, options: argparse.Namespace) -> None:
    path = ("projects", _project(admin, options.project)["id"], "model_permissions")
    if options.any:
        admin.ask("DELETE", *path)
    elif options.allow is not None or options.deny is not None:
        mode = "deny_list" if options.allow is None else "allow_list"
        listed = options.deny if options.allow is None else options.allow
        admin.ask("POST", *path, body={"mode": mode, "model_ids": listed})
    permissions = admin.ask("GET", *path)
    listed = ", ".join(permissions["model_ids"])
    if permissions["mode"] == "allow_list":
        words = f"may use: {listed or 'no model'}"
    else:
        words = f"may use all models but: {listed}" if listed else "may use all models"
    _show(options, permissions, words)


def _create_key(admin: Administration, options: argparse.Namespace) -> None:
    body = {"name": options.name}
    if options.expires is not None:
        body["expires_in_seconds"] = options.expires
    if options.admin:
        whose = "an admin key"
        key = admin.ask("POST", _ADMIN_KEYS, body=body)
    else:
        project = _project(admin, options.project)
        whose = f"a key of project '{project['name']}'"
        account = admin.ask("POST", "projects", project["id"], "service_accounts", body=body)
        key = account["api_key"]
    digest = hashlib.sha256(key["value"].encode()).hexdigest()
    if options.json:
        _print_json({**key, "sha256": digest})
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


def _list_keys(admin: Administration, options: argparse.Namespace) -> None:
    found = list(_keys(admin, options.project, is_admin=options.admin))
    if options.json:
        _print_json([key for _, key in found])
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


def _revoke_keys(admin: Administration, options: argparse.Namespace) -> None:
    missing = set(options.ids)
    for project in admin.items("projects"):
        for key in list(admin.items("projects", project["id"], "api_keys")):
            if key["id"] in missing:
                missing.remove(key["id"])
                deleted = admin.ask("DELETE", "projects", project["id"], "api_keys", key["id"])
                _show(options, deleted, f"revoked {key['id']}: it stops within 30 s")
    for key in list(admin.items(_ADMIN_KEYS)):
        if key["id"] in missing:
            missing.remove(key["id"])
            deleted = admin.ask("DELETE", _ADMIN_KEYS, key["id"])
            _show(options, deleted, f"revoked {key['id']}: it stops within 30 s")
    if missing:
        raise AdministrationError(f"there is no key '{min(missing)}'")


def _keys(admin: Administration, project: str | None, *, is_admin: bool) -> Iterator[Key]:
    """Keys of a project, the admin keys, or all."""
    if project is None:
        for key in admin.items(_ADMIN_KEYS):
            yield "", key
        if is_admin:
            return
    chosen = admin.items("projects") if project is None else [_project(admin, project)]
    for each in chosen:
        for key in admin.items("projects", each["id"], "api_keys"):
            yield each["name"], key


def _project(admin: Administration, name: str) -> dict[str, Any]:
    """The active project with this id, or the only one with this name."""
    found = [p for p in admin.items("projects") if name in (p["id"], p["name"])]
    if len(found) > 1:
        ids = ", ".join(project["id"] for project in found)
        raise AdministrationError(f"several projects are called '{name}': {ids}")
    if not found:
        raise AdministrationError(
            f"there is no project '{name}' ('pilotlight projects list' shows what there is)"
        )
    return found[0]


def _show(options: argparse.Namespace, value: Any, words: str) -> None:
    if options.json:
        _print_json(value)
    else:
        print(safe(words))


def _print_json(value: Any) -> None:
    option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    sys.stdout.buffer.write(orjson.dumps(value, option=option))
