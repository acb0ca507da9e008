"""The way to S3: certificates, proxies, regions, addresses that expire."""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest

from shared.models.errors import ModelSourceError
from shared.models.s3 import object as s3_object
from shared.models.s3 import source, stream, transfer
from shared.models.s3.source import fetch
from shared.models.s3.transfer import PART_SIZE, DownloadError
from tests.models.proxy import Proxy
from tests.models.s3_server import BUCKET, Fault, Refusal, S3Server, environment
from tests.models.tls import write_authority

SOURCE = f"s3://{BUCKET}/tiny.gguf"
CONTENT = b"GGUF" + np.random.default_rng(0).bytes(3 * PART_SIZE + 12345)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxies or certificates of the user's, and no waiting for S3's sake."""
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(transfer, "_BACKOFF_MILLISECONDS", 1)


def served(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A server with a model that `fetch` finds."""
    for name, value in environment(server.url).items():
        monkeypatch.setenv(name, value)
    server.put("tiny.gguf", CONTENT)
    with server.serving():
        yield server


@pytest.fixture
def s3(stand_ins: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """Over plain HTTP."""
    yield from served(S3Server(), monkeypatch)


@pytest.fixture
def tls(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    """An authority's certificate, and what a server needs that it trusts."""
    return write_authority(tmp_path)


@pytest.fixture
def secure(
    stand_ins: None, tls: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> Iterator[S3Server]:
    """Over HTTPS."""
    yield from served(S3Server(tls[1]), monkeypatch)


def content() -> bytes:
    """What is fetched."""
    files = fetch(SOURCE, "memory")
    found = files.paths[0].read_bytes()
    files.close()
    return found


def refused(source: str = SOURCE) -> str:
    """Why a model can't be had."""
    with pytest.raises(ModelSourceError) as caught:
        fetch(source, "memory")
    return str(caught.value)


class TestTls:
    """Certificates."""

    @pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
    def test_an_authority_may_be_named(
        self,
        secure: S3Server,
        tls: tuple[Path, ssl.SSLContext],
        variable: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv(variable, str(tls[0]))
        assert content() == CONTENT

    def test_an_authority_may_be_named_in_the_profile(
        self,
        secure: S3Server,
        tls: tuple[Path, ssl.SSLContext],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        (tmp_path / "config").write_text(f"[default]\nca_bundle = {tls[0]}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        assert content() == CONTENT

    def test_an_unknown_authority_is_an_error(self, secure: S3Server) -> None:
        assert "CERTIFICATE_VERIFY_FAILED" in refused()

    def test_a_certificate_of_another_host_is_an_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bundle, context = write_authority(tmp_path, "elsewhere.test")
        monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
        for _ in served(S3Server(context), monkeypatch):
            assert "hostname 'localhost' doesn't match 'elsewhere.test'" in refused()

    def test_a_missing_file_is_an_error(
        self, secure: S3Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_CA_BUNDLE", "/nowhere/authority.pem")
        assert "no such file of certificates: /nowhere/authority.pem" in refused()

    def test_the_server_learns_whom_it_is_taken_for(
        self,
        secure: S3Server,
        tls: tuple[Path, ssl.SSLContext],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        names: list[str | None] = []
        tls[1].sni_callback = lambda _socket, name, _context: names.append(name)
        monkeypatch.setenv("AWS_CA_BUNDLE", str(tls[0]))
        content()
        assert set(names) == {"localhost"}


class TestProxies:
    """As the AWS library has it."""

    def test_https_goes_through_a_tunnel(
        self,
        secure: S3Server,
        tls: tuple[Path, ssl.SSLContext],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(tls[0]))
        with Proxy(secure.port, "me:secret").running() as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@127.0.0.1:{proxy.port}")
            assert content() == CONTENT
        assert len(proxy.requests) == secure.connections > 2
        assert set(proxy.requests) <= {
            f"CONNECT localhost:{secure.port} HTTP/1.{minor}" for minor in (0, 1)
        }

    @pytest.mark.parametrize("fault", [None, "cut", "short"])
    def test_a_password_with_special_characters_is_percent_encoded(
        self,
        secure: S3Server,
        tls: tuple[Path, ssl.SSLContext],
        fault: Fault | None,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(tls[0]))
        secure.plan = lambda number, start: fault if number == 0 else None
        with Proxy(secure.port, "me:p@ss").running() as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://me:p%40ss@127.0.0.1:{proxy.port}")
            assert content() == CONTENT
        assert len(proxy.requests) == secure.connections

    @pytest.mark.parametrize(
        ("fault", "reason"),
        [("reset", "8 attempts"), ("denied", "403 AccessDenied"), ("error", "400 InvalidRequest")],
    )
    def test_what_never_ends_behind_such_a_proxy_is_given_up(
        self, s3: S3Server, fault: Fault, reason: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(stream, "_LONGEST_PAUSE", 0.001)
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        s3.plan = lambda number, start: fault
        with Proxy(s3.port, "me:p@ss").running() as proxy:
            monkeypatch.setenv("HTTP_PROXY", f"http://me:p%40ss@127.0.0.1:{proxy.port}")
            assert reason in refused()

    def test_http_is_forwarded_also_to_hosts_that_only_the_proxy_knows(
        self, s3: S3Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://s3.example.test")
        with Proxy(s3.port, "me:secret").running() as proxy:
            monkeypatch.setenv("HTTP_PROXY", f"me:secret@127.0.0.1:{proxy.port}")
            assert content() == CONTENT
        assert proxy.requests[0].startswith("HEAD http://s3.example.test/models/tiny.gguf ")
        assert (
            proxy.requests[-1]
            .replace(":80/", "/")
            .startswith("GET http://s3.example.test/models/tiny.gguf?")
        )

    def test_a_proxy_that_wants_to_know_who_asks_is_an_error(
        self, secure: S3Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with Proxy(secure.port, "me:secret").running() as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
            assert "Failed to connect to proxy URL" in refused()

    @pytest.mark.parametrize("exception", ["127.0.0.1", "127.0.0.1:{port}", "*"])
    def test_hosts_may_be_excepted(
        self, s3: S3Server, exception: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("NO_PROXY", exception.format(port=s3.port))
        assert content() == CONTENT

    def test_a_proxy_over_tls_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "https://127.0.0.1:9")
        with pytest.raises(DownloadError, match=r"only http:// proxies .* not the https:// one"):
            stream.needs_stream("https://localhost/models/tiny.gguf")


def test_a_bucket_in_another_region_is_found_there(s3: S3Server) -> None:
    def guard(request: BaseHTTPRequestHandler) -> Refusal | None:
        if "eu-central-1" in request.headers.get("Authorization", request.path):
            return None
        return 301, "PermanentRedirect", "elsewhere", {"x-amz-bucket-region": "eu-central-1"}

    s3.guard = guard
    assert content() == CONTENT


def test_buckets_may_be_part_of_the_host_name(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text("[default]\ns3 =\n  addressing_style = virtual\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://s3.example.test")
    paths: list[str] = []

    def guard(request: BaseHTTPRequestHandler) -> None:
        paths.append(request.path)
        request.path = "/models/tiny.gguf"

    s3.guard = guard
    with Proxy(s3.port).running() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        assert content() == CONTENT
    assert all(
        path.replace(":80/", "/").startswith("http://models.s3.example.test/tiny.gguf")
        for path in paths
    )


class TestCredentials:
    """Those that end too soon, or are wrong."""

    def test_expired_ones_are_looked_up_anew(
        self, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        keys = tmp_path / "credentials"
        keys.write_text("[default]\naws_access_key_id = old\naws_secret_access_key = x\n")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(keys))
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

        renewed = tmp_path / "renewed"
        renewed.write_text(keys.read_text().replace("old", "new"))
        n_signed = itertools.count()

        def guard(request: BaseHTTPRequestHandler) -> Refusal | None:
            if "Credential=old" not in request.path:
                return None
            if next(n_signed) == 0:
                renewed.replace(keys)
                return None
            return 400, "ExpiredToken", "The provided token has expired.", {}

        s3.guard = guard
        assert content() == CONTENT

    def test_without_newer_ones_it_is_an_error(self, s3: S3Server) -> None:
        def guard(request: BaseHTTPRequestHandler) -> Refusal | None:
            if "X-Amz-Credential" not in request.path:
                return None
            return 400, "ExpiredToken", "The provided token has expired.", {}

        s3.guard = guard
        assert "400 ExpiredToken: The provided token has expired." in refused()

    @pytest.mark.parametrize(
        ("status", "code", "hint"),
        [
            (400, "ExpiredToken", "the AWS credentials have expired: renew them"),
            (403, "InvalidAccessKeyId", "the AWS credentials are wrong"),
            (403, "RequestTimeTooSkewed", "set this machine's clock"),
            (403, "AccessDenied", "reading needs s3:GetObject"),
        ],
    )
    def test_what_s3_has_against_them_is_said(
        self, s3: S3Server, status: int, code: str, hint: str
    ) -> None:
        s3.guard = lambda request: (status, code, "No.", {})
        assert f"from S3: {code}: No; {hint}" in refused()


class TestNewRole:
    """A role that AWS Lambda's SnapStart initializes a version with before S3 knows of it."""

    @pytest.fixture(autouse=True)
    def pauses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(s3_object, "_PAUSE", 0.001)

    @staticmethod
    def deny(s3: S3Server, n_requests: int) -> list[str]:
        """Refuse access to the first ones; returns the methods of what comes."""
        methods: list[str] = []

        def guard(request: BaseHTTPRequestHandler) -> Refusal | None:
            methods.append(request.command)
            is_denied = len(methods) <= n_requests
            return (403, "AccessDenied", "Access Denied", {}) if is_denied else None

        s3.guard = guard
        return methods

    @pytest.mark.parametrize("n_requests", [3, 4])
    def test_it_is_asked_again(
        self, s3: S3Server, n_requests: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")
        methods = self.deny(s3, n_requests)
        assert content() == CONTENT
        assert methods[:5] == ["HEAD", "GET", "HEAD", "GET", "HEAD"]

    def test_not_for_ever(self, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")
        monkeypatch.setattr(source, "_NEW_ROLE_SECONDS", 0.01)
        self.deny(s3, 10**6)
        assert "AccessDenied: Access Denied; reading needs s3:GetObject" in refused()

    @pytest.mark.parametrize("kind", [None, "on-demand", "provisioned-concurrency"])
    def test_an_invocation_does_not_wait_for_it(
        self, s3: S3Server, kind: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("AWS_LAMBDA_INITIALIZATION_TYPE", raising=False)
        if kind is not None:
            monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", kind)
        methods = self.deny(s3, 10**6)
        assert "AccessDenied" in refused()
        assert methods.count("HEAD") == 1

    def test_what_else_is_wrong_is_said_at_once(
        self, s3: S3Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")
        assert "no such key" in refused(f"s3://{BUCKET}/other.gguf")


class TestNames:
    """Which places can be named."""

    def test_an_access_point_goes_by_its_alias(self, s3: S3Server) -> None:
        arn = "s3://arn:aws:s3:us-east-1:123456789012:accesspoint/models/tiny.gguf"
        assert "an access point goes by its alias" in refused(arn)

    def test_a_split_model_has_no_version(self, s3: S3Server) -> None:
        source = f"s3://{BUCKET}/m-00001-of-00002.gguf?versionId=1"
        assert "each file of a split model has a version of its own" in refused(source)
