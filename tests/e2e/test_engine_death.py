"""An engine that dies takes the process along, for whoever watches over it to start another one."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import StartServer
from tests.server import running_stream

SABOTAGE = Path(__file__).parents[1] / "aws_lambda" / "sabotage"
ROOT = Path(__file__).parents[2]


def test_requests_are_told_and_the_process_ends_with_status_1(
    start_server: StartServer, tmp_path: Path
) -> None:
    order = tmp_path / "sabotage"
    server = start_server(
        "--grace-period",
        "600",
        environ={"PYTHONPATH": f"{SABOTAGE}:{ROOT}", "SABOTAGE_FILE": str(order)},
        new_interpreter=True,
    )
    with running_stream(server) as parts:
        text = next(parts)
        order.write_text("engine", encoding="ascii")
        text += "".join(parts)
    assert server.wait() == 1
    last = text.rstrip().split("\n\n")[-1]
    assert json.loads(last.removeprefix("data: "))["error"]["type"] == "server_error"
    log = server.log_text()
    assert "ERROR pilotlight: the engine has died: the process ends" in log
