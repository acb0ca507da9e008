"""``pilotlight`` command: the process around `functions.cli.commands`.

Imports next to nothing, since Ctrl-C during an import would print a traceback.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from functions.cli.interruption import INTERRUPTED
from functions.cli.serve_arguments import begin_to_load
from functions.cli.standard_output import forget_output

if TYPE_CHECKING:
    from shared.runtime.early_load import EarlyLoad


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status. Without ``arguments`` it is the process's own."""
    early_load: EarlyLoad | None = None
    if arguments is None:
        _prepare_process()
        early_load = begin_to_load(sys.argv[1:], os.environ)
    try:
        gc.disable()  # modules are no garbage
        from functions.cli.commands import run

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
    finally:
        if early_load is not None:
            early_load.cancel()  # which nobody takes any more
    return status


def _prepare_process() -> None:
    """Let Ctrl-C end the process without a word, and characters that a terminal has not be "?"."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.stdout is not None:
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]


if __name__ == "__main__":
    sys.exit(main())
