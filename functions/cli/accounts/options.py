"""The options of the commands for accounts: ``pilotlight projects``, ``keys``, ``limits``..."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from typing import Final, Literal

from functions.cli.accounts.alert_options import add_alerts
from functions.cli.argument_parser import ArgumentParser
from functions.cli.completions.options import SECONDS, AddSetting, moment
from shared.config.settings_file import did_you_mean

_EPILOG = """\
examples:
  pilotlight keys create --admin operator
  pilotlight projects create shop
  pilotlight keys create --project shop "web site" --expires 90d
  pilotlight keys list
  pilotlight projects models shop --allow small,s
  pilotlight limits shop --requests-per-minute 60 --budget 50
  pilotlight limits --organization --budget 1000
  pilotlight alerts create 40 --project shop --email billing@example.com
  pilotlight usage --by project,model --since 7d
  pilotlight costs --project shop --since 2026-11-01 --until 2026-12-01 --by line-item --csv

They work on the store itself, which --store and --data-dir (or the environment, or pilotlight.toml)
name. With --url they ask a running server, with an admin key: --api-key.
"""
_SETTINGS = ("config", "store", "data_dir", "api_key")
_USAGE_BY = ("project", "key", "model", "user", "tier")
_COSTS_BY = ("project", "key", "user", "line-item")


class _NoLimit(Enum):
    NONE = "none"


NONE: Final = _NoLimit.NONE
"""That there shall be no limit; None means that it stays as it is."""
NoLimit = Literal[_NoLimit.NONE]


def limit(text: str) -> int | NoLimit:
    """A number from 1 on, or ``none``."""
    if text == "none":
        return NONE
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"'{text}' is neither a number from 1 on nor 'none'")
    return int(text)


def budget(text: str) -> int | NoLimit:
    """Cents, of dollars with or without cents, or ``none``."""
    if text == "none":
        return NONE
    if re.fullmatch(r"\d{1,9}(\.\d{1,2})?", text, re.ASCII) is None:
        raise argparse.ArgumentTypeError(
            f"'{text}' is neither an amount of dollars, such as 50 or 49.90, nor 'none'"
        )
    return int(Decimal(text) * 100)


def amount(text: str) -> int:
    """Cents, of dollars with or without cents."""
    cents = None if text == "none" else budget(text)
    if not isinstance(cents, int):
        raise argparse.ArgumentTypeError("'none' is no amount of dollars, such as 50 or 49.90")
    return cents


def groups(allowed: tuple[str, ...]) -> Callable[[str], list[str]]:
    """A parser of some of ``allowed``, comma-separated."""

    def parse(text: str) -> list[str]:
        found = list(dict.fromkeys(names(text)))
        for name in found:
            if name not in allowed:
                raise argparse.ArgumentTypeError(
                    f"'{name}' is not one of {', '.join(allowed)}{did_you_mean(name, allowed)}"
                )
        return found

    return parse


def duration(text: str) -> int:
    """Seconds, of ``90s``, ``12h``, ``7d`` or ``4w``."""
    found = re.fullmatch(r"([1-9]\d{0,8})([smhdw])", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"'{text}' is no duration: 90s, 12h, 7d, 4w")
    return int(found[1]) * SECONDS[found[2]]


def names(text: str) -> list[str]:
    """Names, comma-separated."""
    return [name.strip() for name in text.split(",") if name.strip()]


def add_parsers(
    commands: argparse._SubParsersAction[ArgumentParser], add_setting: AddSetting
) -> None:
    """Add all these commands."""
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
    _add_limits(commands, add_setting)
    add_alerts(commands, _EPILOG, amount, lambda action: _add_place(action, add_setting))
    _add_reports(commands, add_setting)


def _add_limits(
    commands: argparse._SubParsersAction[ArgumentParser], add_setting: AddSetting
) -> None:
    parser = commands.add_parser(
        "limits",
        help="show or set a project's rate limits and monthly budget",
        description="Show a project's rate limits, its budget and what it has spent this month; "
        "or set some of them first. They hold within 30 s everywhere. With --organization it is "
        "the budget of all projects together, which is exact to a minute and a half.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("project", nargs="?", metavar="PROJECT", help="its name or id")
    parser.add_argument(
        "--organization", action="store_true", help="all projects together, instead of one"
    )
    # Not the setting of this name, which is where a model comes from.
    parser.add_argument(
        "--model",
        dest="of_model",
        metavar="NAME",
        help="whose rate limits (default: to show all, to set those of the model that is served)",
    )
    for name, what in (
        ("--requests-per-minute", "requests in a minute"),
        ("--tokens-per-minute", "tokens in a minute, of prompts and completions"),
        ("--requests-per-day", "requests in a day"),
    ):
        parser.add_argument(name, type=limit, metavar="N", help=f"at most so many {what}, or none")
    parser.add_argument(
        "--budget",
        type=budget,
        metavar="DOLLARS",
        help="what may be spent in a month (UTC), of all models: 50, 49.90, or none",
    )
    _add_place(parser, add_setting)


def _add_reports(
    commands: argparse._SubParsersAction[ArgumentParser], add_setting: AddSetting
) -> None:
    usage = commands.add_parser(
        "usage",
        help="requests and tokens, by project, key, model, user or tier",
        description="Requests and tokens of projects, exact to the minute.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    costs = commands.add_parser(
        "costs",
        help="what usage has cost; invoices",
        description="What the usage of projects has cost, in whole days (UTC), with the prices "
        "that were in force at each request.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    reports = ((usage, _USAGE_BY, ("1m", "1h", "1d")), (costs, _COSTS_BY, ("1d",)))
    for parser, by, buckets in reports:
        parser.add_argument("--project", metavar="PROJECT", help="of this project, by name or id")
        parser.add_argument(
            "--since",
            type=moment,
            metavar="TIME",
            help="from this time on: 2026-01-31, 7d (default: the beginning of this month, UTC)",
        )
        parser.add_argument("--until", type=moment, metavar="TIME", help="before this time")
        parser.add_argument(
            "--by",
            type=groups(by),
            default=[],
            metavar="WHAT",
            help=f"a row for each {', '.join(by)}; several are comma-separated",
        )
        parser.add_argument(
            "--bucket",
            choices=buckets,
            help="a row for each minute, hour or day, too" if buckets[1:] else "for each day, too",
        )
        _add_place(parser, add_setting, has_csv=True)


def _add_project(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("project", metavar="PROJECT", help="its name or id")


def _add_whose(parser: argparse.ArgumentParser, *, required: bool) -> None:
    whose = parser.add_mutually_exclusive_group(required=required)
    whose.add_argument("--project", metavar="PROJECT", help="of this project, by name or id")
    whose.add_argument(
        "--admin", action="store_true", help="admin keys, which administer and complete nothing"
    )


def _add_place(
    parser: argparse.ArgumentParser, add_setting: AddSetting, *, has_csv: bool = False
) -> None:
    """A store, or a running server; and what the output is for."""
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="JSON instead of words and tables")
    if has_csv:
        output.add_argument("--csv", action="store_true", help="CSV with a header row")
    parser.add_argument("--url", metavar="URL", help="ask this server instead of the store")
    for name in _SETTINGS:
        add_setting(parser, name)
