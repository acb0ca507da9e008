"""Fork server: processes without this one's threads, forked from one that has imported what they need.

Each process would import it anew otherwise: 0.4 s of processor time for a worker on SQLite, 0.9 s on
DynamoDB, 1.4 s for a container of Modal, 1.0 s for a server.
"""

from __future__ import annotations

import multiprocessing

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        "tests.accounts.ledger.worker",
        "tests.modal_app.run_container",
        "tests.storage.dynamodb.test_crashes",
        "functions.modal.container",
        "functions.cli.serve",
        "functions.cli.chat.command",
        "functions.cli.completions.command",
        "functions.cli.accounts.command",
        "functions.http.app",
        "functions.http.server.uvicorn_server",
        "shared.engine.engine",
    ]
)
