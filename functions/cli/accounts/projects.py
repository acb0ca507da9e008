"""``pilotlight projects``: tenants, and which models they may use."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from typing import Any

from functions.cli.accounts.administration import Administration, AdministrationError
from functions.cli.accounts.output import print_json, show
from functions.cli.confirmation import confirmed
from functions.cli.table import print_rows, safe, shown_time


def create_project(admin: Administration, options: argparse.Namespace) -> None:
    """Create a project."""
    project = admin.ask("POST", "projects", body={"name": options.name})
    show(options, project, f"created project {project['id']}")


def list_projects(admin: Administration, options: argparse.Namespace) -> None:
    """A table of projects."""
    found = list(admin.items("projects", include_archived=options.archived))
    if options.json:
        print_json(found)
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


def rename_project(admin: Administration, options: argparse.Namespace) -> None:
    """Give a project another name."""
    project_id = find_project(admin, options.project)["id"]
    project = admin.ask("POST", "projects", project_id, body={"name": options.name})
    show(options, project, f"project {project_id} is '{project['name']}' now")


def archive_project(admin: Administration, options: argparse.Namespace) -> None:
    """End a project for good."""
    project = find_project(admin, options.project)
    question = f"Archive project '{safe(project['name'])}' ({project['id']}) for good? [y/N] "
    if not options.yes and not confirmed(question):
        raise AdministrationError("nothing was archived")
    archived = admin.ask("POST", "projects", project["id"], "archive")
    show(options, archived, f"archived {project['id']}: its keys stop within 30 s")


def limit_models(admin: Administration, options: argparse.Namespace) -> None:
    """Show, or set and show, which models a project may use."""
    path = ("projects", find_project(admin, options.project)["id"], "model_permissions")
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
    show(options, permissions, words)


def find_project(
    admin: Administration, name: str, among: Iterable[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """The project with this id, or the only one with this name; by default of the active ones."""
    projects = admin.items("projects") if among is None else among
    found = [p for p in projects if name in (p["id"], p["name"])]
    if len(found) > 1:
        ids = ", ".join(project["id"] for project in found)
        raise AdministrationError(f"several projects are called '{name}': {ids}")
    if not found:
        raise AdministrationError(
            f"there is no project '{name}' ('pilotlight projects list' shows what there is)"
        )
    return found[0]
