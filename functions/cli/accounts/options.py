"""The options of ``pilotlight projects`` and ``pilotlight keys``."""

from __future__ import annotations

import argparse
import re

from functions.cli.argument_parser import ArgumentParser
from functions.cli.completions.options import AddSetting

_EPILOG = """\
examples:
  pilotlight keys create --admin operator
  pilotlight projects create shop
  pilotlight keys create --project shop "web site" --expires 90d
  pilotlight keys list
  pilotlight projects models shop --allow small,s

They work on the store itself, which --store and --data-dir (or the environment, or pilotlight.toml)
name. With --url they ask a running server, with an admin key: --api-key.
"""
_SETTINGS = ("config", "store", "data_dir", "api_key")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def duration(text: str) -> int:
    """Seconds, of ``90s``, ``12h``, ``7d`` or ``4w``."""
    found = re.fullmatch(r"([1-9]\d{0,8})([smhdw])", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"'{text}' is no duration: 90s, 12h, 7d, 4w")
    return int(found[1]) * _SECONDS[found[2]]


def names(text: str) -> list[str]:
    """Names, comma-separated."""
    return [name.strip() for name in text.split(",") if name.strip()]


def add_parsers(
    commands: argparse._SubParsersAction[ArgumentParser], add_setting: AddSetting
) -> None:
    """Add both commands."""
    projects = commands.add_parser(
        "projects",
        help="create, list and archive projects",
        description="Projects: tenants, each with keys, stored completions and rules of its own.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = projects.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = actions.add_parser("create", help="create a project")
    create.add_argument("name", metavar="NAME")
    listing = actions.add_parser("list", help="a table of projects")
    listing.add_argument("--archived", action="store_true", help="archived ones too")
    rename = actions.add_parser("rename", help="give a project another name")
    _add_project(rename)
    rename.add_argument("name", metavar="NAME")
    archive = actions.add_parser("archive", help="end a project for good: its keys stop")
    _add_project(archive)
    archive.add_argument("--yes", action="store_true", help="don't ask")
    models = actions.add_parser("models", help="show or say which models a project may use")
    _add_project(models)
    which = models.add_mutually_exclusive_group()
    which.add_argument("--allow", type=names, metavar="NAMES", help="these only, comma-separated")
    which.add_argument("--deny", type=names, metavar="NAMES", help="all but these")
    which.add_argument("--any", action="store_true", help="all models")
    for action in (create, listing, rename, archive, models):
        _add_place(action, add_setting)

    keys = commands.add_parser(
        "keys",
        help="create, list and revoke API keys",
        description="API keys of projects, and of those who administer them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = keys.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = actions.add_parser(
        "create",
        help="create a key, which is printed this once",
        description="Create a key. It goes to standard output, and what to do with it to standard "
        'error: KEY=$(pilotlight keys create --project shop "web site")',
    )
    create.add_argument("name", metavar="NAME", help="what the key is for")
    _add_whose(create, required=True)
    create.add_argument(
        "--expires", type=duration, metavar="DURATION", help="90s, 12h, 7d, 4w (default: never)"
    )
    listing = actions.add_parser("list", help="a table of keys, without their secrets")
    _add_whose(listing, required=False)
    revoke = actions.add_parser("revoke", help="delete keys: they stop within 30 s everywhere")
    revoke.add_argument("ids", nargs="+", metavar="ID")
    for action in (create, listing, revoke):
        _add_place(action, add_setting)


def _add_project(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("project", metavar="PROJECT", help="its name or id")


def _add_whose(parser: argparse.ArgumentParser, *, required: bool) -> None:
    whose = parser.add_mutually_exclusive_group(required=required)
    whose.add_argument("--project", metavar="PROJECT", help="of this project, by name or id")
    whose.add_argument(
        "--admin", action="store_true", help="admin keys, which administer and complete nothing"
    )


def _add_place(parser: argparse.ArgumentParser, add_setting: AddSetting) -> None:
    """A store, or a running server; and what the output is for."""
    parser.add_argument("--json", action="store_true", help="JSON instead of words and tables")
    parser.add_argument("--url", metavar="URL", help="ask this server instead of the store")
    for name in _SETTINGS:
        add_setting(parser, name)
