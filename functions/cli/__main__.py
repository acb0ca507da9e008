"""``pilotlight`` command: the process around `functions.cli.commands`.

Imports next to nothing, since Ctrl-C during an import would print a traceback.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from functions.cli.interruption import INTERRUPTED
from functions.cli.serve_arguments import begin_to_load
from functions.cli.standard_output import forget_output


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status. Without ``arguments`` it is the process's own."""
    if arguments is not None:
        return _run(arguments)
    _prepare_process()
    early_load = begin_to_load(sys.argv[1:], os.environ)
    if early_load is None:
        return _run()
    try:
        status = _run()
    except SystemExit as end:  # the parser's, which has said why
        if not isinstance(end.code, int):
            raise
        status = end.code
    finally:
        early_load.cancel()  # which nobody takes any more
    if early_load.is_running:
        _exit_at_once(status)
    return status


def _run(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and say what the matter is with output that can't be written."""
    try:
        if arguments is None:
            gc.disable()  # modules are no garbage
        from functions.cli.commands import run

        if arguments is None:  # another program's objects are not ours to freeze
            gc.freeze()  # else it would look through all of it as soon as it is enabled
            gc.enable()
        status = run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        forget_output()  # the reader has seen enough
        return 1
    except OSError as error:
        forget_output()  # such as a full disk's
        print(f"pilotlight: {error}", file=sys.stderr)
        return 1
    return status


def _exit_at_once(status: int) -> NoReturn:
    """End the process without its threads: one may be in a call that reads a file of many GB."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            if stream is not None:
                stream.flush()
    os._exit(status)


def _prepare_process() -> None:
    """Let Ctrl-C end the process without a word, and characters that a terminal has not be "?"."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.stdout is not None:
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]


if __name__ == "__main__":
    sys.exit(main())
