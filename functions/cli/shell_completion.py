"""Shell completion: ``pilotlight --print-completion SHELL`` writes what bash, zsh or fish source.

shtab makes the script once, from the parser itself. A script that asked the command at every press
of the tab key would start Python each time, which takes 0.3 s.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_args, get_origin

from shared.config.configuration import is_switch
from shared.config.settings import Settings

SHELLS = ("bash", "zsh", "fish")


class PrintCompletion(argparse.Action):
    """Option that prints the completion script of a shell and ends the process."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest, choices=SHELLS, metavar="SHELL", **options)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,  # noqa: ARG002
        values: str | Sequence[Any] | None,
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        print(script(parser, str(values)))
        parser.exit()


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The completion script of ``parser`` for ``shell``; changes the parser."""
    import shtab  # only who asks for a script waits for it

    # Of two patterns: zsh takes a single one in parentheses for qualifiers.
    models = shtab.glob("*.gguf", "*.GGUF")
    kinds = {"FILE": shtab.FILE, "DIRECTORY": shtab.DIRECTORY, "SOURCE": models}
    for action in _actions(parser):
        if isinstance(action.metavar, str) and action.metavar in kinds:
            action.complete = kinds[action.metavar]  # type: ignore[attr-defined]
        elif not action.choices and action.dest in Settings.model_fields:
            action.choices = _values(action.dest) or None
    return shtab.complete(parser, shell)


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The options and arguments of a parser and of its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)


def _values(setting: str) -> tuple[str, ...]:
    """The values of a setting, where its type has few."""
    if is_switch(setting):
        return ("true", "false")
    annotation = Settings.model_fields[setting].annotation
    return get_args(annotation) if get_origin(annotation) is Literal else ()
