"""The smoke test of a deployment, against servers that stand for one."""

from __future__ import annotations

from pathlib import Path

import pytest

from functions.modal.deployment import Deployment
from functions.modal.smoke import SmokeTestError, smoke_test
from tests.modal_app.container_process import StartContainer
from tests.modal_app.control_plane import ControlPlane
from tests.modal_app.variables import KEY, KEY_HASH


def deployment(**variables: str) -> Deployment:
    """A deployment with a key."""
    return Deployment.from_environment({"PILOTLIGHT_API_KEY_HASH": KEY_HASH, **variables})


def test_a_deployment_with_a_store(
    start_container: StartContainer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = {"PILOTLIGHT_STORE": f"sqlite:{tmp_path}/store"}
    inference = start_container(**store)
    api = start_container("Api", **store)

    smoke_test(deployment(**store), url=inference.url, api_url=api.url, key=KEY)

    said = capsys.readouterr().out
    for line in ("health: ", "models: ", "first request (cold", "second request (warm): "):
        assert line in said
    assert "parts, the first after " in said
    assert "store, read, list, delete: " in said


def test_a_wrong_key_is_told(start_container: StartContainer) -> None:
    inference = start_container("Api")

    with pytest.raises(SmokeTestError, match="Incorrect API key"):
        smoke_test(deployment(), url=inference.url, api_url="", key="another")


def test_without_a_key_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    with pytest.raises(SmokeTestError, match="OPENAI_API_KEY"):
        smoke_test(deployment(), url="http://127.0.0.1:9", api_url="", key="")


def test_modal_run_tries_what_is_deployed(
    control_plane: ControlPlane, start_container: StartContainer
) -> None:
    container = start_container()
    control_plane.urls = {"Inference": container.url, "Api": f"{container.url}/"}

    ended = control_plane.modal(
        *("run", "modal_app.py", "--key", KEY), PILOTLIGHT_API_KEY_HASH=KEY_HASH
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"reading at {container.url}/v1/" in ended.stdout
    assert "second request (warm): " in ended.stdout
    assert "store: not tried" in ended.stdout


def test_a_server_is_found_too(control_plane: ControlPlane) -> None:
    control_plane.urls = {"Inference": "http://inference.test", "Api": "http://api.test"}
    code = (
        "from functions.modal.deployment import Deployment\n"
        "from functions.modal.smoke import deployed_urls\n"
        "print(*deployed_urls(Deployment.from_environment()))\n"
    )

    ended = control_plane.python(
        "-c", code, PILOTLIGHT_API_KEY_HASH=KEY_HASH, PILOTLIGHT_MODAL_HANDLER="server"
    )

    assert ended.stdout == "http://inference.test http://api.test\n", ended.stderr


def test_what_is_not_deployed_is_told(control_plane: ControlPlane) -> None:
    ended = control_plane.modal(
        *("run", "modal_app.py", "--key", KEY), PILOTLIGHT_API_KEY_HASH=KEY_HASH
    )

    assert ended.returncode == 1
    assert "smoke test: deploy first, by modal deploy modal_app.py" in ended.stderr
    assert "Traceback" not in ended.stderr
