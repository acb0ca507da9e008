"""Command-line parser of argparse's that says what was meant by what is misspelt."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import NoReturn

from shared.config.settings_file import did_you_mean


class ArgumentParser(argparse.ArgumentParser):
    """`argparse.ArgumentParser` with suggestions for misspelt options and choices.

    A command's own parser refuses what it does not know, so that the usage shown is the command's.
    """

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse; ends the process with a message where anything is left over."""
        args = sys.argv[1:] if args is None else list(args)
        self._check_options(args)
        found, left = super().parse_known_args(args, namespace)
        if left:
            options = [arg for arg in left if arg.startswith("-")]
            self._refuse(options or left)
        return found, left

    def _check_options(self, args: Sequence[str]) -> None:
        """Refuse what argparse would take for something else."""
        known = self._option_string_actions
        if (
            self._subparsers is not None
            and args
            and args[0].startswith("-")
            and args[0] not in known
        ):
            self._refuse(args[:1], " (the options of a command go behind it)")
        for arg in takewhile(lambda arg: arg != "--", args):
            name = arg.partition("=")[0]
            if f"-{name}" in known and name.startswith("-") and len(name) > 2:
                self._refuse([arg])  # -model FILE would be -m odel

    def _refuse(self, args: Iterable[str], note: str = "") -> NoReturn:
        names = [arg.partition("=")[0] for arg in args]
        known = self._option_string_actions
        said = [f"{name}{did_you_mean(name.lower(), known)}" for name in names]
        self.error(f"unrecognized arguments: {' '.join(said)}{note}")

    def _check_value(self, action: argparse.Action, value: object) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            choices = [str(choice) for choice in action.choices or ()]
            error.message += did_you_mean(str(value).lower(), choices)
            raise
