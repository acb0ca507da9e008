"""The options of ``pilotlight prefixes``."""

from __future__ import annotations

import argparse

from functions.cli.argument_parser import ArgumentParser
from functions.cli.completions.options import AddSetting, moment

_EPILOG = """\
examples:
  pilotlight prefixes list --prefix-store /var/lib/pilotlight/prefixes
  pilotlight prefixes delete --tenant proj_0123456789 --prefix-store s3://my-bucket/prefixes
  pilotlight prefixes delete --until 12h --yes

They read the store itself, which --prefix-store (or the environment, or pilotlight.toml) names.
Running servers go on with what they have in memory.
"""


def add_parser(
    commands: argparse._SubParsersAction[ArgumentParser], add_setting: AddSetting
) -> None:
    """Add the command."""
    prefixes = commands.add_parser(
        "prefixes",
        help="list and delete what the prefix cache has stored",
        description="Beginnings of prompts that are kept for other processes (--prefix-store).",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = prefixes.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="how much is stored, by tenant and model")
    listing.description = "How much is stored: a line for each tenant and model."
    listing.add_argument("--json", action="store_true", help="a JSON object a line instead")
    deleting = actions.add_parser("delete", help="delete some of it, or all")
    deleting.description = "Delete stored prefixes. Prompts that began so are evaluated again."
    deleting.add_argument("--all", action="store_true", help="everything in the store")
    deleting.add_argument("--yes", action="store_true", help="don't ask")
    for action in (listing, deleting):
        _add_filters(action)
        for name in ("config", "prefix_store"):
            add_setting(action, name)


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tenant",
        metavar="NAME",
        help="whose: a project's id, the name of a key ('key-...'), 'default' for nobody's key, or "
        "'everybody' for warm prefixes",
    )
    # Not the setting of this name: what is listed is a hash of the model and its settings.
    parser.add_argument(
        "--model", dest="of_model", metavar="HASH", help="of a model, as the list has it"
    )
    parser.add_argument(
        "--since", type=moment, metavar="TIME", help="written at this time or later: 2026-01-31, 7d"
    )
    parser.add_argument("--until", type=moment, metavar="TIME", help="written before this time")
