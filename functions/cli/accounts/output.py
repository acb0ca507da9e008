"""Output of the commands for accounts: words, or JSON."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import orjson

from functions.cli.table import safe


def show(options: argparse.Namespace, value: Any, words: str) -> None:
    """Print ``words``, or ``value`` as JSON where that is asked for."""
    if options.json:
        print_json(value)
    else:
        print(safe(words))


def print_json(value: Any) -> None:
    """Print JSON for people and programs."""
    option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    sys.stdout.buffer.write(orjson.dumps(value, option=option))
