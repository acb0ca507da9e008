"""The options of ``pilotlight completions`` and ``pilotlight store``."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from functions.cli.argument_parser import ArgumentParser

_COMPLETIONS_EPILOG = """\
examples:
  pilotlight completions list --metadata project=faq --since 7d
  pilotlight completions show chatcmpl-019a2b3c4d5e0123456789abcdef
  pilotlight completions export --metadata project=faq --output faq.jsonl
  pilotlight completions list --url https://llm.example.com --api-key "$KEY"

They read the store itself, which --store and --data-dir (or the environment, or pilotlight.toml)
name. With --url, list, show and delete ask a running server instead, for what it has for a key.
"""
_STORE_SETTINGS = ("config", "store", "data_dir")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

AddSetting = Callable[[argparse.ArgumentParser, str], None]
"""Gives a parser the option of a setting."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A time as it was given, and in seconds since 1970."""

    text: str
    seconds: float


def moment(text: str) -> Moment:
    """A date, a time (UTC unless it says otherwise), or how long ago: ``90s``, ``12h``, ``7d``."""
    if duration := re.fullmatch(r"(\d{1,9})([smhdw])", text):
        ago = int(duration[1]) * SECONDS[duration[2]]
        return Moment(text, datetime.now(UTC).timestamp() - ago)
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"'{text}' is no time: 2026-01-31, 2026-01-31T12:00:00+01:00, or 90s, 12h, 7d, 4w ago"
        ) from None
    return Moment(text, (given if given.tzinfo else given.replace(tzinfo=UTC)).timestamp())


def pair(text: str) -> tuple[str, str]:
    """``KEY=VALUE``; the key has no ``=``."""
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"'{text}' is not KEY=VALUE")
    return key, value


def count(text: str) -> int:
    """A number from 1 on."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"'{text}' is no number from 1 on")
    return int(text)


def inclusions(text: str) -> frozenset[str]:
    """``incomplete``, ``length`` or both, comma-separated."""
    names = frozenset(text.split(","))
    if unknown := names - {"incomplete", "length"}:
        raise argparse.ArgumentTypeError(f"'{min(unknown)}' is neither 'incomplete' nor 'length'")
    return names


def add_parsers(
    commands: argparse._SubParsersAction[ArgumentParser], add_setting: AddSetting
) -> None:
    """Add both commands."""
    completions = commands.add_parser(
        "completions",
        help="list, show, delete and export stored completions",
        description="What requests with 'store': true left: look at it, delete it, export it as "
        "training data.",
        epilog=_COMPLETIONS_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = completions.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_list(actions.add_parser("list", help="a table of stored completions"), add_setting)
    _add_show(actions.add_parser("show", help="one of them"), add_setting)
    _add_delete(actions.add_parser("delete", help="delete some, bodies and all"), add_setting)
    _add_export(actions.add_parser("export", help="write them as JSON lines"), add_setting)
    store = commands.add_parser(
        "store", help="prepare the store of completions", description="The store of completions."
    )
    actions = store.add_subparsers(dest="action", required=True, metavar="ACTION")
    init = actions.add_parser(
        "init",
        help="create what it needs",
        description="Create the SQLite file, or the DynamoDB table and the S3 bucket, if missing.",
    )
    sweep = actions.add_parser(
        "sweep",
        help="clear away what has expired",
        description="Clear away expired completions, and what deletions that were cut off left.",
    )
    for action in (init, sweep):
        for name in _STORE_SETTINGS:
            add_setting(action, name)


def _add_list(parser: argparse.ArgumentParser, add_setting: AddSetting) -> None:
    parser.description = "A table of stored completions, the newest first."
    _add_filters(parser, limit=20, order="desc")
    parser.add_argument(
        "--text", action="store_true", help="show the beginnings of questions and answers too"
    )
    parser.add_argument("--json", action="store_true", help="a JSON object a line instead")
    _add_place(parser, add_setting)


def _add_show(parser: argparse.ArgumentParser, add_setting: AddSetting) -> None:
    parser.description = "A stored completion: what was asked, what was answered."
    parser.add_argument("id", metavar="ID")
    parser.add_argument("--json", action="store_true", help="all that is stored, as JSON")
    _add_place(parser, add_setting)


def _add_delete(parser: argparse.ArgumentParser, add_setting: AddSetting) -> None:
    parser.description = "Delete stored completions for good, bodies and all."
    parser.add_argument("ids", nargs="+", metavar="ID")
    parser.add_argument("--yes", action="store_true", help="don't ask")
    _add_place(parser, add_setting)


def _add_export(parser: argparse.ArgumentParser, add_setting: AddSetting) -> None:
    parser.description = (
        "Write stored completions as JSON lines, from the store itself. An export to a file can be "
        "interrupted at any time, and gone on with."
    )
    parser.add_argument(
        "--format",
        choices=("messages", "openai-evals", "raw"),
        default="messages",
        help="messages: to fine-tune with (default); openai-evals: {'item': {'input', 'ideal'}}; "
        "raw: all that is stored",
    )
    parser.add_argument(
        "--output", "-o", default="-", metavar="FILE", help="where to; - is standard output"
    )
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted export")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it exists")
    _add_filters(parser, limit=None, order="asc")
    parser.add_argument(
        "--choices",
        choices=("first", "all"),
        help="of several choices (n) the first one (default), or a line for each",
    )
    parser.add_argument(
        "--include",
        type=inclusions,
        metavar="WHICH",
        help="export also what is left out otherwise: 'incomplete' (the client disconnected), "
        "'length' (cut by the token limit), or both, comma-separated",
    )
    parser.add_argument(
        "--reasoning",
        action="store_true",
        help="keep reasoning_content, which OpenAI's format does not have",
    )
    _add_tenant(parser)
    for name in _STORE_SETTINGS:
        add_setting(parser, name)


def _add_filters(parser: argparse.ArgumentParser, *, limit: int | None, order: str) -> None:
    parser.add_argument(
        "--kind", choices=("chat", "text"), default="chat", help="of completions (default: chat)"
    )
    # Not the setting of this name, which is where a model comes from.
    parser.add_argument("--model", dest="of_model", metavar="NAME", help="those of this model")
    parser.add_argument(
        "--metadata",
        type=pair,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="those with this pair; may be repeated: those with all pairs",
    )
    parser.add_argument(
        "--since", type=moment, metavar="TIME", help="made at this time or later: 2026-01-31, 7d"
    )
    parser.add_argument("--until", type=moment, metavar="TIME", help="made before this time")
    parser.add_argument(
        "--limit",
        type=count,
        default=limit,
        metavar="N",
        help=f"at most so many completions (default: {limit or 'all'})",
    )
    parser.add_argument(
        "--order",
        choices=("asc", "desc"),
        default=order,
        help=f"oldest first, or newest first (default: {order})",
    )


def _add_tenant(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tenant", metavar="NAME", help="whose completions (default: 'default', nobody's key)"
    )


def _add_place(parser: argparse.ArgumentParser, add_setting: AddSetting) -> None:
    """A store, or a running server."""
    _add_tenant(parser)
    parser.add_argument("--url", metavar="URL", help="ask this server instead of the store")
    for name in (*_STORE_SETTINGS, "api_key"):
        add_setting(parser, name)
