"""Fill a store with realistic content, to look at the dashboard with it.

    python tools/fill_sample_store.py DIRECTORY [--completions 500] [--seed 1]
    pilotlight serve --accounts true --data-dir DIRECTORY --alias small

Three projects with keys, limits and budgets, their usage of the last 30 days, and completions of
all kinds. It prints an admin key, and one of each project, as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import closing
from pathlib import Path

from sample_store.organization import Clock, SampleOrganization

from shared.accounts.accounts import open_accounts
from shared.storage.location import open_store


def main() -> int:
    """Fill it; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("--completions", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(json.dumps(fill(options.directory, options.completions, options.seed), indent=2))
    return 0


def fill(directory: Path, n_completions: int, seed: int = 1) -> dict[str, str]:
    """Fill SQLite's files in a directory; secrets of keys, by ``admin`` and projects' names."""
    clock = Clock()
    clock.now = time.time()
    store = open_store("sqlite", directory)
    assert store is not None
    with closing(store), closing(open_accounts("sqlite", directory, clock)) as accounts:
        return SampleOrganization(accounts, store, clock, seed).fill(n_completions)


if __name__ == "__main__":
    sys.exit(main())
