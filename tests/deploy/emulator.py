"""ministack, an emulator of AWS, as a process: with TLS, and with IAM enforced."""

from __future__ import annotations

import io
import os
import signal
import ssl
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import boto3
import httpx2

from tests.deploy.workarounds import ADAPTER_ACCOUNT, ADAPTER_NAME, ADAPTER_VERSION
from tests.ports import free_port
from tests.server import START_SECONDS, wait_until

REGION = "us-east-1"

_LAYER = Path(__file__).parent / "layer"
_SERVE = (
    *("-m", "hypercorn", "ministack.app:app", "--log-level", "INFO"),
    *("--certfile", "ministack-tls/server.crt", "--keyfile", "ministack-tls/server.key"),
)
_MAKE_CERTIFICATE = "from ministack.core import tls; tls.resolve_tls_material()"


class Emulator:
    """A process of it; everything that it writes is in ``directory``.

    Functions run in processes of the interpreter that runs it, with credentials of their roles.
    """

    def __init__(self, python: str, directory: Path) -> None:
        self.log = directory / "ministack.log"
        self.certificate = directory / "ministack-tls" / "server.crt"
        port = free_port()
        self.url = f"https://127.0.0.1:{port}"
        environment = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(directory),
            "TMPDIR": str(directory),
            "GATEWAY_PORT": str(port),
            "MINISTACK_REGION": REGION,
            "AUTH": "true",  # IAM's policies decide
            "USE_SSL": "1",  # the bucket's policy refuses plain HTTP
        }
        subprocess.run(
            [python, "-c", _MAKE_CERTIFICATE], cwd=directory, env=environment, check=True
        )
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                [python, *_SERVE, "--bind", f"127.0.0.1:{port}"],
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # to end the functions' processes with it
            )
        self._tls = ssl.create_default_context(cafile=self.certificate)
        self.http = httpx2.Client(base_url=self.url, verify=self._tls, timeout=START_SECONDS)
        try:
            wait_until(self._is_healthy, "healthy", START_SECONDS)
        except BaseException:
            self.stop()
            raise

    def _is_healthy(self) -> bool:
        assert self._process.poll() is None, self.log_text()
        try:
            return self.http.get("/_ministack/health").status_code == 200
        except httpx2.ConnectError:
            return False

    def stop(self) -> None:
        """End it and the functions that it runs, by force."""
        self.http.close()
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def log_text(self) -> str:
        """All that it wrote."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def environment(self) -> dict[str, str]:
        """What makes AWS's clients use it, as the account's root."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_CA_BUNDLE": str(self.certificate),
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def aws(self, service: str, account: str = "test") -> Any:
        """boto3's client of a service, as the root of an account."""
        return boto3.client(  # type: ignore[call-overload]
            service,
            endpoint_url=self.url,
            verify=str(self.certificate),
            region_name=REGION,
            aws_access_key_id=account,
            aws_secret_access_key="test",
        )

    def address(self, url: str) -> str:
        """Where the emulator serves a URL of API Gateway or Lambda."""
        parsed = httpx2.URL(url)
        identifier, service, _ = parsed.host.split(".", 2)
        assert service in ("execute-api", "lambda-url"), url
        return f"{self.url}/_aws/{service}/{identifier}{parsed.raw_path.decode()}"

    def transport(self) -> httpx2.BaseTransport:
        """Where requests to API Gateway's and Lambda's URLs go."""
        return _Transport(self, self._tls)

    def publish_adapter(self) -> None:
        """Publish the stand-in for the Lambda Web Adapter, for everybody, as AWS does."""
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as file:
            for path in _LAYER.glob("*.py"):
                file.write(path, f"python/{path.name}")
        client = self.aws("lambda", ADAPTER_ACCOUNT)
        for _ in range(ADAPTER_VERSION):
            client.publish_layer_version(
                LayerName=ADAPTER_NAME, Content={"ZipFile": content.getvalue()}
            )
        client.add_layer_version_permission(
            LayerName=ADAPTER_NAME,
            VersionNumber=ADAPTER_VERSION,
            StatementId="everybody",
            Action="lambda:GetLayerVersion",
            Principal="*",
        )


class _Transport(httpx2.BaseTransport):
    """Requests to hosts of AWS, sent to the emulator by paths that it has for them."""

    def __init__(self, emulator: Emulator, tls: ssl.SSLContext) -> None:
        self._emulator = emulator
        self._transport = httpx2.HTTPTransport(verify=tls)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        request.url = httpx2.URL(self._emulator.address(str(request.url)))
        request.headers["host"] = request.url.netloc.decode()
        return self._transport.handle_request(request)

    def close(self) -> None:
        self._transport.close()
