"""A server started with a configuration file: settings, and request defaults for each name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.api.conftest import StartServer
from tests.api.openai_types import chat_chunks, chat_completion, text_completion
from tests.app_server import AppServer
from tests.server import Server, user

CONFIGURATION = """
alias = ["steady", "creative", "brief"]
ctx_size = 1024
parallel = 2

[models.steady]
temperature = 0
max_tokens = 40

[models.creative]
temperature = 2
max_tokens = 40

[models.brief]
temperature = 0
stop = [", 4"]
stream = true
stream_options = { include_usage = true }
"""
STORY = user("Tell me a story")
COUNT = user("Count from 1 to 20")


@pytest.fixture(scope="module")
def configured(log_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server with `CONFIGURATION`."""
    file = tmp_path_factory.mktemp("configuration") / "any-name.toml"
    file.write_text(CONFIGURATION)
    server = AppServer(log_directory / "configured-server.log", "--config", str(file))
    yield server
    server.stop()


def story(server: Server, **fields: Any) -> str:
    """The text of an answer that the temperature steers."""
    completion = chat_completion(server.chat(messages=STORY, **fields).raise_for_status().content)
    return completion.choices[0].message.content or ""


def n_tokens(response: httpx2.Response) -> int:
    """The length of a completion."""
    tokens = response.raise_for_status().json()["usage"]["completion_tokens"]
    assert isinstance(tokens, int)
    return tokens


def test_the_files_settings_hold(configured: Server) -> None:
    card = configured.http.get("/v1/models").json()["data"][0]
    assert configured.model == card["id"] == "steady"
    assert card["meta"]["aliases"] == ["creative", "brief"]
    assert card["meta"]["n_ctx"] <= 1024


class TestTemperature:
    """Seen in whether seeds change the text."""

    @pytest.mark.slow
    def test_each_name_has_its_own(self, configured: Server) -> None:
        steady = {story(configured, model="steady", seed=seed) for seed in range(3)}
        creative = {story(configured, model="creative", seed=seed) for seed in range(3)}
        assert (len(steady), len(creative)) == (1, 3)

    @pytest.mark.slow
    def test_without_a_model_the_first_name_has_the_say(self, configured: Server) -> None:
        texts = {story(configured, seed=seed) for seed in range(3)}
        assert texts == {story(configured, model="steady")}

    @pytest.mark.slow
    def test_the_request_wins(self, configured: Server) -> None:
        cooled = story(configured, model="creative", temperature=0, seed=1)
        heated = {story(configured, model="steady", temperature=2, seed=seed) for seed in range(3)}
        assert cooled == story(configured, model="steady")
        assert len(heated) == 3

    @pytest.mark.slow
    def test_null_leaves_it_to_the_default(self, configured: Server) -> None:
        texts = {story(configured, model="steady", temperature=None, seed=s) for s in range(3)}
        assert len(texts) == 1

    @pytest.mark.slow
    def test_text_completions_have_it_too(self, configured: Server) -> None:
        texts = {
            text_completion(configured.text(seed=seed).content).choices[0].text for seed in range(3)
        }
        assert len(texts) == 1


class TestMaxTokens:
    """The default limit, and the request's."""

    @pytest.mark.slow
    def test_holds_for_both_endpoints(self, configured: Server) -> None:
        assert n_tokens(configured.chat(messages=STORY, ignore_eos=True)) == 40
        assert n_tokens(configured.text(ignore_eos=True)) == 40

    @pytest.mark.sweep(1)
    @pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
    def test_is_overridden_under_either_name(self, configured: Server, field: str) -> None:
        assert n_tokens(configured.chat(messages=STORY, ignore_eos=True, **{field: 50})) == 50

    def test_names_without_it_have_the_deployments(self, configured: Server) -> None:
        fields = {"model": "brief", "stream": False, "stop": []}
        assert n_tokens(configured.chat(messages=COUNT, **fields)) > 40


class TestStopAndStream:
    """Defaults that are no numbers."""

    def test_the_answer_is_streamed_and_stopped(self, configured: Server) -> None:
        chunks = chat_chunks(configured.chat(model="brief", messages=COUNT).text)
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        assert text == "1, 2, 3"
        assert chunks[-1].usage is not None

    @pytest.mark.slow
    def test_the_request_wins(self, configured: Server) -> None:
        fields = {"model": "brief", "messages": COUNT, "stream": False}
        stopped = chat_completion(configured.chat(**fields).content).choices[0]
        unstopped = chat_completion(configured.chat(**fields, stop=[]).content).choices[0]
        assert (stopped.message.content, stopped.finish_reason) == ("1, 2, 3", "stop")
        assert "4, 5, 6" in (unstopped.message.content or "")


@pytest.mark.slow
def test_openais_client_needs_no_field_but_the_messages(configured: Server) -> None:
    response = configured.post("/v1/chat/completions", {"messages": STORY})
    with configured.openai() as client:
        named = client.chat.completions.create(
            model="steady",
            messages=[{"role": "user", "content": "Tell me a story"}],
        )
    assert named.choices == chat_completion(response.content).choices


def test_a_wrong_field_is_still_the_callers(configured: Server) -> None:
    error = configured.chat(model="creative", top_p=2).json()["error"]
    unknown = configured.chat(model="nobody")
    assert error["param"] == "top_p"
    assert unknown.status_code == 404


def test_the_variable_names_the_file_and_wins_over_it(
    tmp_path: Path, start_server: StartServer
) -> None:
    file = tmp_path / "pilotlight.toml"
    file.write_text('alias = ["from-file"]\nctx_size = 512\nparallel = 1\n')
    server = start_server(
        environ={"PILOTLIGHT_CONFIG": str(file), "PILOTLIGHT_ALIAS": "from-environment"}
    )
    card = server.http.get("/v1/models").json()["data"][0]
    assert (card["id"], card["meta"]["n_ctx"]) == ("from-environment", 512)
