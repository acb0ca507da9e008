"""Usage error of a command that its parser does not see: options that don't go together."""

from __future__ import annotations

STATUS = 2
"""Exit status of a command that is called wrongly, as argparse gives it."""


class UsageError(Exception):
    """What is wrong with the options, for people. The command has done nothing."""
