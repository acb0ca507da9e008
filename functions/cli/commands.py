"""Command line of ``pilotlight``: its commands and options.

Commands import what they need when they run, so that ``--help`` is instant.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, get_origin

from functions.cli.accounts import options as account_options
from functions.cli.argument_parser import ArgumentParser
from functions.cli.completions import options
from functions.cli.prefixes import options as prefix_options
from functions.cli.shell_completion import SHELLS, PrintCompletion
from functions.cli.usage_error import STATUS, UsageError
from shared.config import configuration
from shared.config.settings import Settings
from shared.config.settings_file import ConfigurationError

_DESCRIPTION = "OpenAI-compatible chat and text completions for GGUF models."
_SERVE_EPILOG = """\
Every option is also an environment variable and a key of the configuration file: --ctx-size is
PILOTLIGHT_CTX_SIZE and ctx_size. Options win over the environment, and that over the file, which is
--config FILE, or pilotlight.toml in the working directory:

  alias = ["precise", "creative"]
  ctx_size = 8192

  [models.creative]        # what requests for this name leave out
  temperature = 1.2
  max_tokens = 500

examples:
  pilotlight serve
  pilotlight serve --model ~/models/qwen2.5-0.5b-instruct-q8_0.gguf --alias qwen
  pilotlight serve --model hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF:qwen2.5-0.5b-instruct-q8_0.gguf
  pilotlight serve --model s3://my-models/qwen2.5-0.5b-instruct-q8_0.gguf
  pilotlight serve --host 0.0.0.0 --api-key "$(openssl rand -hex 24)"
"""
_CHAT_SETTINGS = (
    *("config", "model", "api_key", "ctx_size", "threads", "n_gpu_layers", "chat_template_file"),
    "model_cache",
)
Command = Callable[[Settings, argparse.Namespace], int]
"""Runs with settings and options; returns the exit status."""

_CLIENT_HELP = {"api_key": "API key to ask the server at --url with, where it wants one"}
"""Of settings that mean something else to who asks a server than to the server."""
_OTHER_VARIABLES = "PILOTLIGHT_MODAL_"
"""Begins the names of what only a deployment on Modal reads."""
_CHAT_EPILOG = """\
examples:
  pilotlight chat "What is the capital of France?"
  pilotlight chat --url http://127.0.0.1:8000 --system "Answer in one word."
  pilotlight chat --model ~/models/qwen2.5-0.5b-instruct-q8_0.gguf

  pilotlight chat < question.txt > answer.txt

In a conversation: /help tells the commands, the arrow keys recall what you said. Without a terminal
all of standard input is one message; only the answer goes to standard output.
"""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command that ``arguments`` are, by default the process's; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return STATUS
    try:
        settings = configuration.load(
            {name: getattr(options, name) for name in Settings.model_fields if name in options}
        )
    except ConfigurationError as error:
        for problem in error.problems:
            print(f"pilotlight: {problem}", file=sys.stderr)
        return STATUS
    for problem in configuration.unknown_variables(besides=_OTHER_VARIABLES):
        print(f"pilotlight: {problem}", file=sys.stderr)
    command = _command(options.command)
    try:
        return command(settings, options)
    except UsageError as error:
        from functions.cli.table import safe

        print(f"pilotlight: {safe(str(error))}", file=sys.stderr)
        return STATUS


def _command(name: str) -> Command:
    """The function of a command."""
    command: Command
    if name == "serve":
        from functions.cli.serve import serve

        return lambda settings, _: serve(settings)
    if name == "chat":
        from functions.cli.chat.command import chat as command
    elif name == "completions":
        from functions.cli.completions.command import completions as command
    elif name == "store":
        from functions.cli.completions.command import store as command
    elif name == "prefixes":
        from functions.cli.prefixes.command import prefixes as command
    else:
        from functions.cli.accounts.command import accounts as command
    return command


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="pilotlight", description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=_version())
    parser.add_argument(
        "--print-completion",
        action=PrintCompletion,
        default=argparse.SUPPRESS,
        help=f"print the completion script of a shell: {', '.join(SHELLS)}",
    )
    commands = parser.add_subparsers(dest="command", title="commands", metavar="COMMAND")
    serve = commands.add_parser(
        "serve",
        help="serve a model over HTTP",
        description="Serve a GGUF model behind OpenAI's chat and text completions API.",
        epilog=_SERVE_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name in Settings.model_fields:
        if configuration.is_switch(name):
            _add_switch(serve, name)
        else:
            _add_setting(serve, name)
    chat = commands.add_parser(
        "chat",
        help="talk to a model in the terminal",
        description="Talk to a running server, or load a model just for the conversation.",
        epilog=_CHAT_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    chat.add_argument("prompt", nargs="?", help="say this, print the answer and end")
    chat.add_argument(
        "--url", metavar="URL", help="a running server's address (default: load a model instead)"
    )
    chat.add_argument("--system", metavar="TEXT", help="instructions that begin the conversation")
    chat.add_argument(
        "--temperature", type=_number, metavar="T", help="randomness, 0 to 2 (default: 1)"
    )
    chat.add_argument("--max-tokens", type=int, metavar="N", help="longest answer in tokens")
    for name in _CHAT_SETTINGS:
        _add_client_setting(chat, name)
    options.add_parsers(commands, _add_client_setting)
    prefix_options.add_parser(commands, _add_client_setting)
    account_options.add_parsers(commands, _add_client_setting)
    return parser


def _number(text: str) -> float:
    """A number as JSON has it, which knows neither NaN nor Infinity."""
    with suppress(ValueError):
        if math.isfinite(number := float(text)):
            return number
    raise argparse.ArgumentTypeError(f"'{text}' is no number")


def _add_client_setting(parser: argparse.ArgumentParser, name: str) -> None:
    _add_setting(parser, name, _CLIENT_HELP.get(name))


def _add_switch(parser: argparse.ArgumentParser, name: str) -> None:
    """A setting that is on or off as an option whose value may be missing, and its opposite.

    Only where no argument can follow, which would be taken for the value.
    """
    option = configuration.flag(name)
    extra: Any = Settings.model_fields[name].json_schema_extra
    parser.add_argument(
        *extra.get("opposites", ()),
        option.replace("--", "--no-", 1),
        action="store_const",
        const="false",
        dest=name,
        default=argparse.SUPPRESS,
        help=f"the same as {option} false",
    )
    _add_setting(parser, name, nargs="?", const="true")


def _add_setting(
    parser: argparse.ArgumentParser, name: str, text: str | None = None, **options: Any
) -> None:
    """A setting as an option. Its value stays text: the settings model converts it.

    ``options``: what else argparse is told.
    """
    field = Settings.model_fields[name]
    extra: Any = field.json_schema_extra or {}
    flags = [flag for flag in (extra.get("short"), *extra.get("others", ())) if flag]
    default = field.get_default()
    is_list = get_origin(field.annotation) is list
    if is_list and default:
        default = ",".join(default)
    shown = f" (default: {default})" if default not in (None, [], {}) else ""
    parser.add_argument(
        *flags,
        configuration.flag(name),
        action=_Joined if is_list else "store",
        dest=name,
        default=argparse.SUPPRESS,
        metavar=extra.get("metavar"),
        help=f"{text or field.description}{shown}".replace("%", "%%"),
        **options,
    )


class _Joined(argparse.Action):
    """An option that may be there several times: its values with commas, as in one."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        """Add a value."""
        before = getattr(namespace, self.dest, None)
        setattr(namespace, self.dest, f"{values}" if before is None else f"{before},{values}")


def _version() -> str:
    from importlib.metadata import version

    return f"pilotlight {version('pilotlight')}"
