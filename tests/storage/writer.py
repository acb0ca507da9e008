"""A process that stores completions, and says of each when it is kept.

    python -m tests.storage.writer FILE TENANT FIRST COUNT

stores the samples from number ``FIRST`` on in the SQLite file, and prints each one's number as soon
as `put` has returned.
"""

from __future__ import annotations

import sys
from pathlib import Path

from shared.storage.sqlite.store import SQLiteStore
from tests.storage.completions import sample


def main() -> None:
    path, tenant, first, count = sys.argv[1:]
    store = SQLiteStore(Path(path))
    for number in range(int(first), int(first) + int(count)):
        store.put(sample(number, tenant=tenant, metadata={"run": "7"}))
        print(number, flush=True)
    store.close()


if __name__ == "__main__":
    main()
