"""The options of ``pilotlight alerts``."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from functions.cli.argument_parser import ArgumentParser


def add_alerts(
    commands: argparse._SubParsersAction[ArgumentParser],
    epilog: str,
    amount: Callable[[str], int],
    add_place: Callable[[argparse.ArgumentParser], None],
) -> None:
    """Add the command; ``add_place`` adds where the accounts are."""
    alerts = commands.add_parser(
        "alerts",
        help="create, list and delete spend alerts",
        description="Spend alerts: messages once a month, when a project, or all together, have "
        "spent an amount. They go where --webhook-url and --alert-topic of 'pilotlight serve' "
        "say, and to its log.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = alerts.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = actions.add_parser("create", help="create an alert")
    create.add_argument(
        "amount", type=amount, metavar="DOLLARS", help="spent in a month (UTC): 40, 39.90"
    )
    _add_whose(create, required=True)
    create.add_argument(
        "--email",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="an address that goes with the message, for whoever receives it; may be repeated",
    )
    create.add_argument("--subject-prefix", metavar="TEXT", help="what the subject begins with")
    listing = actions.add_parser("list", help="a table of alerts")
    _add_whose(listing, required=False)
    delete = actions.add_parser("delete", help="delete alerts")
    delete.add_argument("ids", nargs="+", metavar="ID")
    for action in (create, listing, delete):
        add_place(action)


def _add_whose(parser: argparse.ArgumentParser, *, required: bool) -> None:
    whose = parser.add_mutually_exclusive_group(required=required)
    whose.add_argument("--project", metavar="PROJECT", help="of this project, by name or id")
    whose.add_argument("--organization", action="store_true", help="of all projects together")
