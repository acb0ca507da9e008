"""Bodies before they are requests: JSON or not, compressed or not, deep, wide, late."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from functions.http import request_body
from functions.http.app import App, create_app
from functions.http.request_body import MAX_CONTAINERS, MAX_DEPTH, MAX_FIELDS, MAX_NAMES, MAX_VALUES
from shared.config.settings import Settings
from shared.protocol.errors import APIError
from shared.runtime.loader import ModelLoader

LIMIT = 2**22
HELLO = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
PATHS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": HELLO,
    "/v1/completions": {"prompt": "Once", "max_tokens": 1},
    "/completion": {"prompt": "Once", "n_predict": 1},
    "/tokenize": {"content": "Once"},
    "/detokenize": {"tokens": [1]},
    "/apply-template": HELLO,
}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> App:
    directory = tmp_path_factory.mktemp("store")
    settings = Settings(threads=1, parallel=2, max_body_size=LIMIT, data_dir=directory)
    loader = ModelLoader(settings)
    loader.start()
    loader.wait()
    return create_app(settings, loader)


@pytest.fixture
async def client(app: App) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield client


async def error_of(
    client: httpx2.AsyncClient, path: str, body: bytes, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    response = await client.post(path, content=body, headers=headers)
    return response.status_code, response.json()["error"]


@pytest.mark.anyio
@pytest.mark.parametrize("path", PATHS)
class TestJSON:
    @pytest.mark.parametrize(
        "body",
        [b"", b"{", b"\xff", b'{"a": "\\ud800"}', b"[" * 1000, b"a=b", b"{'a': 1}", b"{} {}"],
    )
    async def test_what_is_none_is_refused(
        self, client: httpx2.AsyncClient, path: str, body: bytes
    ) -> None:
        status, error = await error_of(client, path, body)
        assert (status, error["param"], error["code"]) == (400, None, "invalid_json")
        assert "JSON" in error["message"]

    @pytest.mark.parametrize(
        "number",
        [
            "NaN",
            "Infinity",
            "-Infinity",
            "1e400",
            "-1e400",
            "9" * 400,
            "-" + "9" * 5000,
            "9" * 5000 + ".5",
        ],
    )
    @pytest.mark.parametrize("field", ['"seed": %s', '"unknown": {"a": [%s]}', '"n": %s'])
    async def test_numbers_that_json_does_not_have_are_refused_anywhere(
        self, client: httpx2.AsyncClient, path: str, number: str, field: str
    ) -> None:
        good = json.dumps({**PATHS[path], "store": True})
        body = f"{good[:-1]}, {field % number}}}".encode()
        status, error = await error_of(client, path, body)
        assert (status, error["code"]) == (400, "invalid_value")
        assert error["param"] in ("seed", "unknown.a[0]", "n")

    @pytest.mark.parametrize(
        ("body", "param"), [(b'{"": 1e400}', ""), (b'{"": {"": [1e400]}}', ".[0]")]
    )
    async def test_a_name_without_characters_is_one_too(
        self, client: httpx2.AsyncClient, path: str, body: bytes, param: str
    ) -> None:
        status, error = await error_of(client, path, body)
        assert (status, error["param"]) == (400, param)
        assert error["message"].startswith(f"Invalid '{param}': ")

    @pytest.mark.sweep(2)
    async def test_a_number_is_found_among_many(
        self, client: httpx2.AsyncClient, path: str
    ) -> None:
        numbers = "[" * 150 + "1," * 50_000 + "NaN" + "]" * 150
        body = json.dumps(PATHS[path])[:-1] + f', "x": {{"y": [1, {{"z": {numbers}}}]}}}}'
        status, error = await error_of(client, path, body.encode())
        assert (status, error["code"]) == (400, "invalid_value")
        assert error["param"] == "x.y[1].z" + "[0]" * 149 + "[50000]"

    async def test_a_byte_order_mark_is_skipped(
        self, client: httpx2.AsyncClient, path: str
    ) -> None:
        body = json.dumps(PATHS[path]).encode("utf-8-sig")
        assert (await client.post(path, content=body)).status_code == 200

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
    async def test_utf_16_is_named(
        self, client: httpx2.AsyncClient, path: str, encoding: str
    ) -> None:
        status, error = await error_of(client, path, json.dumps(PATHS[path]).encode(encoding))
        assert status == 400
        assert "UTF-16" in error["message"]

    async def test_depth_is_limited(self, client: httpx2.AsyncClient, path: str) -> None:
        for nested in ("[" * MAX_DEPTH + "]" * MAX_DEPTH, '{"a":' * 500 + "1" + "}" * 500):
            body = json.dumps(PATHS[path])[:-1] + f', "x": {nested}}}'
            status, error = await error_of(client, path, body.encode())
            assert (status, error["code"]) == (400, "invalid_json")
            assert "nested" in error["message"]

    async def test_brackets_in_texts_are_no_depth(
        self, client: httpx2.AsyncClient, path: str
    ) -> None:
        deep = "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1)
        body = json.dumps(PATHS[path])[:-1] + f', "x": "{"[{" * 5000}", "y": {deep}}}'
        assert (await client.post(path, content=body)).status_code == 200

    @pytest.mark.sweep(2)
    @pytest.mark.parametrize(
        ("item", "limit"),
        [("[]", MAX_CONTAINERS), ('"a"', MAX_VALUES), ("1", MAX_VALUES), ('{"a":1}', MAX_NAMES)],
    )
    async def test_the_number_of_parts_is_limited(
        self, client: httpx2.AsyncClient, path: str, item: str, limit: int
    ) -> None:
        start = json.dumps(PATHS[path])[:-1]
        many = f'{start}, "x": [{",".join([item] * (limit + 1))}]}}'
        status, error = await error_of(client, path, many.encode())
        assert (status, error["param"], error["code"]) == (400, None, "invalid_json")
        fewer = f'{start}, "x": [{",".join([item] * (limit // 2))}]}}'
        assert (await client.post(path, content=fewer)).status_code == 200

    async def test_texts_may_have_what_parts_are_told_apart_by(
        self, client: httpx2.AsyncClient, path: str
    ) -> None:
        text = ',:[{\\"' * (MAX_VALUES // 2)
        body = json.dumps({**PATHS[path], "x": [text, {"y": text}]})
        assert (await client.post(path, content=body)).status_code == 200

    async def test_the_number_of_fields_is_limited(
        self, client: httpx2.AsyncClient, path: str
    ) -> None:
        many = {f"field_{i}": None for i in range(MAX_FIELDS)}
        status, error = await error_of(client, path, json.dumps({**PATHS[path], **many}).encode())
        assert (status, error["param"]) == (400, None)
        fewer = dict(list(many.items())[:900])
        response = await client.post(path, json={**PATHS[path], **fewer})
        assert response.status_code == 200
        assert len(response.headers["x-ignored-params"]) <= 1000


@pytest.mark.anyio
class TestEncodings:
    BODY = json.dumps(HELLO).encode()

    @pytest.mark.parametrize(
        ("name", "body"),
        [
            ("gzip", gzip.compress(BODY, mtime=0)),
            ("GZIP", gzip.compress(BODY, mtime=0)),
            ("x-gzip", gzip.compress(BODY, mtime=0)),
            ("deflate", zlib.compress(BODY)),
            ("deflate", zlib.compress(BODY)[2:-4]),
            ("identity", BODY),
            ("", BODY),
        ],
    )
    async def test_a_compressed_body_is_read(
        self, client: httpx2.AsyncClient, name: str, body: bytes
    ) -> None:
        headers = {"content-encoding": name}
        response = await client.post("/v1/chat/completions", content=body, headers=headers)
        assert response.status_code == 200

    @pytest.mark.parametrize("name", ["br", "zstd", "compress", "gzip, gzip", "x" * 5000])
    async def test_other_encodings_are_named(self, client: httpx2.AsyncClient, name: str) -> None:
        headers = {"content-encoding": name}
        response = await client.post("/v1/chat/completions", content=self.BODY, headers=headers)
        error = response.json()["error"]
        assert (response.status_code, error["code"]) == (415, "unsupported_content_encoding")
        assert name[:60] in error["message"]
        assert response.headers["accept-encoding"] == "gzip, deflate"

    async def test_encodings_in_several_headers_are_one_list(
        self, client: httpx2.AsyncClient
    ) -> None:
        headers = [("content-encoding", "gzip"), ("content-encoding", "br")]
        body = gzip.compress(self.BODY, mtime=0)
        response = await client.post("/v1/chat/completions", content=body, headers=headers)
        assert response.status_code == 415
        assert "'gzip, br'" in response.json()["error"]["message"]

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            BODY,
            gzip.compress(BODY, mtime=0)[:-1],
            gzip.compress(BODY, mtime=0) + b"x",
            gzip.compress(BODY, mtime=0) * 2,
            gzip.compress(BODY, mtime=0)[:12] + b"\x00" * 20,
        ],
    )
    async def test_what_is_no_gzip_is_refused(
        self, client: httpx2.AsyncClient, body: bytes
    ) -> None:
        headers = {"content-encoding": "gzip"}
        status, error = await error_of(client, "/v1/chat/completions", body, headers)
        assert (status, error["code"]) == (400, "invalid_body")

    async def test_a_compressed_body_without_the_header_is_named(
        self, client: httpx2.AsyncClient
    ) -> None:
        status, error = await error_of(
            client, "/v1/chat/completions", gzip.compress(self.BODY, mtime=0)
        )
        assert (status, error["code"]) == (400, "invalid_json")
        assert "content-encoding" in error["message"]

    @pytest.mark.parametrize("size", [LIMIT + 1, 2**24])
    async def test_the_limit_holds_for_what_comes_out(
        self, client: httpx2.AsyncClient, size: int
    ) -> None:
        headers = {"content-encoding": "gzip"}
        body = gzip.compress(b" " * size, mtime=0)
        status, error = await error_of(client, "/v1/chat/completions", body, headers)
        assert (status, error["code"]) == (413, "request_too_large")

    async def test_a_body_as_large_as_the_limit_is_read(self, client: httpx2.AsyncClient) -> None:
        body = self.BODY + b" " * (LIMIT - len(self.BODY))
        headers = {"content-encoding": "gzip"}
        response = await client.post(
            "/v1/chat/completions", content=gzip.compress(body, mtime=0), headers=headers
        )
        assert response.status_code == 200


class TestWidth:
    """Large bodies are counted in steps: one call would hold the interpreter for as long."""

    @pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1000])
    def test_is_that_of_all_between_the_quotes(
        self, chunk: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(request_body, "_CHUNK", chunk)
        texts = ["", ",:[{", '"', "\\", '\\"', '\\\\"[', "\n", "é,"]
        shuffled = random.Random(chunk)
        for _ in range(200):
            texts_of_one = shuffled.choices(texts, k=8)
            body = json.dumps([*map("".join, zip(texts_of_one, texts_of_one[::-1], strict=True))])
            outside = [*request_body._outside_texts(body.encode())]
            assert b"".join(outside) == b"[" + b", " * 7 + b"]"
            assert max(map(len, outside)) <= chunk + 1

    def test_is_looked_at_as_far_as_it_may_go(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[int] = []
        count = request_body._parts

        def counted(part: bytes) -> tuple[int, int, int]:
            seen.append(len(part))
            return count(part)

        monkeypatch.setattr(request_body, "_parts", counted)
        with pytest.raises(APIError, match="several requests"):
            request_body._check_width(b'["", {}, ' + b'{"a":""},' * 400_000 + b"1]")
        assert sum(seen[1:]) < 6 * MAX_CONTAINERS + 2**17
