"""docs/api.md has every field of OpenAI's types, and says of it what the code does."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai.types import Completion, completion_create_params
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat import completion_create_params as chat_create_params

from functions.http.app import create_app
from shared.config.settings import Settings
from shared.engine.types import SamplingParams
from shared.protocol import responses
from shared.protocol.fields import SharedFields
from shared.protocol.openai import chunks
from shared.protocol.openai.chat_completions import ChatCompletionRequest
from shared.protocol.openai.completions import CompletionRequest
from shared.runtime.loader import ModelLoader
from tests.api.openai_types import BEYOND_TYPES
from tests.docs.api_page import PAGE, Row, rows
from tests.docs.fields import FieldType, fields, plain
from tests.docs.ranges import spelled

ROOT = Path(__file__).parents[2]
OPENAI: dict[str, dict[str, FieldType]] = {
    "chat.request": fields(
        chat_create_params.CompletionCreateParamsNonStreaming,
        chat_create_params.CompletionCreateParamsStreaming,
    ),
    "text.request": fields(
        completion_create_params.CompletionCreateParamsNonStreaming,
        completion_create_params.CompletionCreateParamsStreaming,
    ),
    "chat.body": fields(ChatCompletion),
    "chat.chunk": fields(ChatCompletionChunk),
    "text.body": fields(Completion),
}
OURS: dict[str, type] = {
    "chat.request": ChatCompletionRequest,
    "text.request": CompletionRequest,
    "chat.body": responses.ChatCompletion,
    "chat.chunk": chunks.ChatCompletionChunk,
    "text.body": responses.TimedCompletion,
}
REQUESTS: dict[str, type[SharedFields]] = {
    "chat.request": ChatCompletionRequest,
    "text.request": CompletionRequest,
}
FIELDS = [(surface, path) for surface, found in OPENAI.items() for path in found]
IN_WORDS = ("seed", "prompt", "max_tokens")
"""Fields whose range is told in words, since it has a name, or differs between endpoints."""


def row_of(surface: str, path: str) -> Row:
    """The only row that speaks for a field."""
    found = [row for row in rows(surface) if row.covers(path)]
    assert len(found) == 1, f"{surface} {path}: {len(found)} rows"
    return found[0]


class TestOpenAIsFields:
    """The tables and the installed package's types have the same fields."""

    @pytest.mark.sweep(50)
    @pytest.mark.parametrize(("surface", "path"), FIELDS)
    def test_every_field_has_one_row(self, surface: str, path: str) -> None:
        row_of(surface, path)

    @pytest.mark.parametrize("surface", OPENAI)
    def test_no_row_is_about_a_field_that_is_not_there(self, surface: str) -> None:
        for row in rows(surface):
            assert any(row.covers(path) for path in OPENAI[surface]), row.key

    @pytest.mark.sweep(50)
    @pytest.mark.parametrize(("surface", "path"), FIELDS)
    def test_every_value_is_named(self, surface: str, path: str) -> None:
        row = row_of(surface, path)
        if row.has_all_inside or path == "model":
            return
        quoted = re.findall(r"`([^`]+)`", row.line)
        for value in OPENAI[surface][path].values:
            assert any(re.search(rf"\b{re.escape(value)}\b", text) for text in quoted), value

    def test_what_is_supported_is_said_field_by_field(self) -> None:
        summed_up = {row.status for row in rows(*OPENAI) if row.has_all_inside}
        assert summed_up <= {"no effect", "refused", "absent", "null"}


class TestOurFields:
    """What OpenAI's types do not have is in tables of its own."""

    @pytest.mark.parametrize("surface", OURS)
    def test_every_addition_has_a_row(self, surface: str) -> None:
        known = {plain(path) for path in OPENAI[surface]}
        whole = [row.path.removesuffix("…") for row in rows(surface) if row.has_all_inside]
        whole += [row.path.removesuffix("…") for row in rows(f"{surface}+") if row.has_all_inside]
        summed_up = tuple(f"{plain(path)}." for path in whole if not path.endswith("]"))
        added = {plain(path) for path in fields(OURS[surface])} - known
        expected = {path for path in added if not path.startswith(summed_up)}

        documented = {plain(row.path.removesuffix("…")) for row in rows(f"{surface}+")}

        if surface == "text.body":
            documented -= {"prompt_progress"}  # which is in chunks only
        assert documented == expected

    @pytest.mark.parametrize("surface", ["chat.body", "chat.chunk", "text.body"])
    def test_tests_allow_no_other_addition_to_responses(self, surface: str) -> None:
        schema = {"chat.body": ChatCompletion, "chat.chunk": ChatCompletionChunk}.get(
            surface, Completion
        )
        inner = {"chat.body": "ChatCompletionMessage", "chat.chunk": "ChoiceDelta"}.get(surface)
        allowed = {*BEYOND_TYPES[schema.__name__], *BEYOND_TYPES["CompletionUsage"]}
        if inner is not None:
            allowed |= {*BEYOND_TYPES[inner]}

        documented = {row.path.removesuffix("…").rpartition(".")[2] for row in rows(f"{surface}+")}

        assert documented == allowed

    @pytest.mark.parametrize("surface", REQUESTS)
    def test_every_field_of_openais_is_known_to_the_request_model(self, surface: str) -> None:
        top = {path for path in OPENAI[surface] if plain(path) == path and "." not in path}
        assert top <= REQUESTS[surface].model_fields.keys()


def top_rows() -> Iterator[tuple[str, str]]:
    """The fields of the request models, each with its surface."""
    for surface, schema in REQUESTS.items():
        for name in schema.attributes():
            yield surface, name


class TestRangesAndDefaults:
    """What the tables say of values is what the request models and the engine do."""

    @pytest.mark.parametrize(("surface", "name"), list(top_rows()))
    def test_the_range_is_the_models(self, surface: str, name: str) -> None:
        found = [row for row in rows(surface, f"{surface}+") if row.covers(name)]
        assert len(found) == 1
        if name not in IN_WORDS:
            schema = REQUESTS[surface]
            field = schema.model_fields[schema.attributes()[name]]
            assert (found[0].range or "") == spelled(field)

    @pytest.mark.parametrize(
        "parameter", dataclasses.fields(SamplingParams), ids=lambda field: field.name
    )
    def test_the_default_is_the_engines(self, parameter: dataclasses.Field[object]) -> None:
        if not isinstance(parameter.default, int | float):
            return
        default = f"{parameter.default}".lower().removesuffix(".0")
        for row in rows():
            if row.path == parameter.name:
                assert re.search(rf"Default {re.escape(default)}(, off)? \|$", row.line), row.line


@pytest.mark.slow
def test_every_endpoint_is_listed() -> None:
    settings = Settings(accounts=True)
    app = create_app(settings, ModelLoader(settings))
    paths = app.resources().openapi()["paths"]
    # Those have a page of their own.
    document = {path: paths[path] for path in paths if "/organization/" not in path}
    described = {
        f"{method.upper()} {re.sub(':path', '', path)}"
        for path, methods in document.items()
        for method in methods
    }
    hidden = {"POST /completions", "GET /v1/health", "GET /docs", "GET /openapi.json", "GET /"}
    hidden |= {"POST /chat/completions", "GET /models"}
    table = PAGE.split("## Endpoints")[1].split("\n## ")[0]
    listed = set(re.findall(r"`((?:GET|POST|DELETE) [^`]+)`", table))
    assert listed == described | hidden


Error = tuple[int, str, str]
"""Status, type and code."""


def errors_in(file: Path) -> Iterator[Error]:
    """The errors that a file makes, as far as their codes are written out there."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        if node.func.id == "APIError":
            words = {word.arg: word.value for word in node.keywords}
            code, kind = words.get("code"), words.get("type")
            if isinstance(code, ast.Constant):
                named = kind.value if isinstance(kind, ast.Constant) else "invalid_request_error"
                yield int(ast.unparse(node.args[0])), str(named), str(code.value)
        elif node.func.id == "UpstreamError":
            code = {word.arg: word.value for word in node.keywords}.get("code")
            if isinstance(code, ast.Constant) and isinstance(node.args[1], ast.Constant):
                yield int(ast.unparse(node.args[1])), "upstream_error", str(code.value)
        elif node.func.id in ("invalid", "PydanticCustomError"):
            argument = (node.args + [None] * 3)[2 if node.func.id == "invalid" else 0]
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield 400, "invalid_request_error", argument.value


@pytest.mark.slow
def test_every_error_is_in_the_table() -> None:
    table = PAGE.split("<!-- errors -->")[1].split("<!-- end -->")[0]
    cells = re.findall(r"^\| (\d+) \| `(\w+)` \| `(\w+)` \|", table, re.MULTILINE)
    listed = {(int(status), kind, code) for status, kind, code in cells}
    files = [file for top in ("functions", "shared") for file in (ROOT / top).rglob("*.py")]
    made = {error for file in files for error in errors_in(file)}
    words = {"part_without_text", "part_without_medium", "choice", "mixed_prompts", "contradiction"}
    """Pydantic's name of an error whose code is `invalid_value`."""
    assert {error for error in made if error[2] not in words} <= listed
    put_together = {
        *((400, "invalid_request_error", f"invalid_{what}") for what in ("json", "type", "value")),
        *((400, "invalid_request_error", f"unsupported_{what}") for what in ("schema", "grammar")),
        (404, "invalid_request_error", "unknown_url"),
        (405, "invalid_request_error", "method_not_allowed"),
        (401, "upstream_error", "upstream_authentication_failed"),
    }
    assert listed - made <= put_together


@pytest.mark.parametrize("name", ["api.md", "roadmap.md"])
def test_links_lead_somewhere(name: str) -> None:
    docs = ROOT / "docs"
    text = (docs / name).read_text(encoding="utf-8")
    for page, anchor in re.findall(r"\]\(([\w.-]*)(?:#([\w-]+))?\)", text):
        target = docs / (page or name)
        assert target.exists(), page
        headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
        slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert not anchor or anchor in slugs, f"{page}#{anchor}"
