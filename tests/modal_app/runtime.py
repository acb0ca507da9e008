"""Runs a deployed function by Modal's own container runtime, against the control plane of the tests.

What Modal's worker does is done here: it starts the runtime's entry point with the function's
definition as it was deployed, gives it requests as inputs, and takes the responses' parts.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modal._serialization import deserialize_data_format, serialize_data_format
from modal_proto import api_pb2

from tests.modal_app.control_plane import ROOT, ControlPlane, Message
from tests.modal_app.variables import KEY, environment

_TIMEOUT = 300.0
_OF_DEPLOYMENTS = (api_pb2.FunctionCreateRequest, api_pb2.SecretGetOrCreateRequest)
"""Requests that containers are made from."""
_POLL_SECONDS = 1.0
"""How long the runtime's question for inputs stays open; it asks again."""


class Worker(ControlPlane):
    """A control plane whose deployed functions can be run."""

    def __init__(self) -> None:
        self._inputs: asyncio.Queue[api_pb2.FunctionGetInputsItem] = asyncio.Queue()
        self._bodies: dict[str, bytes] = {}
        self._parts: dict[str, queue.Queue[dict[str, Any]]] = {}
        self._checkpoint = threading.Event()
        super().__init__()

    def start(self, name: str, directory: Path, *, is_snapshotted: bool = False) -> Container:
        """Start the container of a function that was deployed, with its variables.

        Earlier containers, and what they said, are forgotten.
        """
        self._inputs = asyncio.Queue()
        self._checkpoint.clear()
        self.requests = [each for each in self.requests if isinstance(each, _OF_DEPLOYMENTS)]
        function = self.function(name)
        return Container(self, function, directory, is_snapshotted=is_snapshotted)

    def await_checkpoint(self) -> None:
        """Wait until a container says that it can be snapshotted."""
        assert self._checkpoint.wait(_TIMEOUT)

    def results(self) -> list[int]:
        """How the container's inputs ended: `api_pb2.GenericResult`'s statuses."""
        return [
            item.result.status
            for request in self.sent(api_pb2.FunctionPutOutputsRequest)
            for item in request.outputs
        ]

    def request(self, call: str, scope: dict[str, Any], body: bytes) -> None:
        """Give a request to the container, as the input of a call of the function's ``web``."""
        self._bodies[call] = body
        self._parts[call] = queue.Queue()
        item = api_pb2.FunctionGetInputsItem(
            input_id=f"in-{call}",
            function_call_id=call,
            input=api_pb2.FunctionInput(
                args=serialize_data_format(((scope,), {}), api_pb2.DATA_FORMAT_PICKLE),
                data_format=api_pb2.DATA_FORMAT_PICKLE,
                method_name="web",
            ),
        )
        self._loop.call_soon_threadsafe(self._inputs.put_nowait, item)

    def response(self, call: str) -> Iterator[dict[str, Any]]:
        """The ASGI messages of a response, as they come."""
        more = True
        while more:
            message = self._parts[call].get(timeout=_TIMEOUT)
            yield message
            more = message["type"] == "http.response.start" or message.get("more_body", False)

    def layout(self) -> api_pb2.AppLayout:
        """What a container is told of its app's objects."""
        functions: dict[str, str] = {}
        classes: dict[str, str] = {}
        objects: list[api_pb2.Object] = []
        for request in self.sent(api_pb2.FunctionCreateRequest):
            name = request.function.function_name
            functions[name] = request.existing_function_id
            objects.append(
                api_pb2.Object(
                    object_id=request.existing_function_id,
                    function_handle_metadata=api_pb2.FunctionHandleMetadata(function_name=name),
                )
            )
            class_name = name.removesuffix(".*")
            classes[class_name] = f"cs-{class_name}"
            objects.append(
                api_pb2.Object(
                    object_id=classes[class_name],
                    class_handle_metadata=api_pb2.ClassHandleMetadata(),
                )
            )
        others = (each for each in self._objects if each.startswith(("vo-", "st-", "im-", "mo-")))
        objects.extend(api_pb2.Object(object_id=each) for each in others)
        return api_pb2.AppLayout(objects=objects, function_ids=functions, class_ids=classes)

    def _answer_ContainerCheckpoint(self, _: Message) -> None:
        self._checkpoint.set()

    async def _answer_FunctionGetInputs(self, _: Message) -> api_pb2.FunctionGetInputsResponse:
        try:
            item = await asyncio.wait_for(self._inputs.get(), _POLL_SECONDS)
        except TimeoutError:
            return api_pb2.FunctionGetInputsResponse()
        return api_pb2.FunctionGetInputsResponse(inputs=[item])

    async def _answer_FunctionCallGetDataIn(
        self, request: api_pb2.FunctionCallGetDataRequest
    ) -> api_pb2.DataChunk:
        if request.last_index:
            await asyncio.Event().wait()  # the client says nothing more, and stays
        message = {"type": "http.request", "body": self._bodies[request.function_call_id]}
        return api_pb2.DataChunk(
            data_format=api_pb2.DATA_FORMAT_ASGI,
            data=serialize_data_format(message, api_pb2.DATA_FORMAT_ASGI),
            index=1,
        )

    def _answer_FunctionCallPutDataOut(self, request: api_pb2.FunctionCallPutDataRequest) -> None:
        for chunk in request.data_chunks:
            message = deserialize_data_format(chunk.data, chunk.data_format, None)
            if isinstance(message, dict):
                self._parts[request.function_call_id].put(message)

    def _answer_FunctionGetDynamicConcurrency(
        self, request: api_pb2.FunctionGetDynamicConcurrencyRequest
    ) -> api_pb2.FunctionGetDynamicConcurrencyResponse:
        return api_pb2.FunctionGetDynamicConcurrencyResponse(concurrency=request.max_concurrency)


class Container:
    """A process of Modal's runtime."""

    def __init__(
        self,
        worker: Worker,
        function: api_pb2.Function,
        directory: Path,
        *,
        is_snapshotted: bool,
    ) -> None:
        self._worker = worker
        self._n_calls = 0
        self._restored = directory / "restore-state.json"
        self.log = directory / "container.log"
        arguments = directory / "arguments"
        layout = worker.layout()
        definition = api_pb2.Function()
        definition.CopyFrom(function)
        definition.is_checkpointing_function = is_snapshotted  # set by Modal, not by its client
        arguments.write_bytes(
            api_pb2.ContainerArguments(
                task_id="ta-tests",
                function_id=layout.function_ids[function.function_name],
                app_id="ap-tests",
                function_def=definition,
                app_layout=layout,
                checkpoint_id="ch-tests" if is_snapshotted else None,
            ).SerializeToString()
        )
        variables = worker.environment(function) | {
            "PILOTLIGHT_MODEL_CACHE": str(directory / "models"),
            "HF_HOME": str(directory / "hub"),
            "MODAL_SERVER_URL": worker.url,
            "MODAL_IS_REMOTE": "1",
            "MODAL_TASK_ID": "ta-tests",
            "MODAL_CONTAINER_ARGUMENTS_PATH": str(arguments),
            "MODAL_RESTORE_STATE_PATH": str(self._restored),
            "PYTHONPATH": str(_installed(directory / "site")),
        }
        if is_snapshotted:
            variables["MODAL_ENABLE_SNAP_RESTORE"] = "1"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "modal._container_entrypoint"],
                cwd=directory,
                env=environment(variables),
                stdout=output,
                stderr=output,
            )

    def restore(self) -> None:
        """Let a snapshotted process go on, as one that was restored under another name."""
        partial = self._restored.with_suffix(".partial")
        partial.write_text(json.dumps({"task_id": "ta-restored"}), encoding="utf-8")
        os.replace(partial, self._restored)

    def post(self, path: str, body: object) -> Iterator[dict[str, Any]]:
        """POST JSON with a key; the response's ASGI messages as they come."""
        return self._send("POST", path, json.dumps(body).encode())

    def get(self, path: str) -> list[dict[str, Any]]:
        """GET; the response's ASGI messages."""
        return list(self._send("GET", path, b""))

    def stop(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait(self) -> str:
        """What it printed and logged, once it has ended."""
        self.process.wait(_TIMEOUT)
        return self.text()

    def text(self) -> str:
        """What it printed and logged so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """End the process by force."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def _send(self, method: str, path: str, body: bytes) -> Iterator[dict[str, Any]]:
        self._n_calls += 1
        call = f"fc-{self._n_calls}"
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "scheme": "https",
            "server": ("localhost", 443),
            "client": ("127.0.0.1", 1),
            "root_path": "",
            "headers": [
                (b"authorization", f"Bearer {KEY}".encode()),
                (b"content-type", b"application/json"),
            ],
        }
        self._worker.request(call, scope, body)
        return self._worker.response(call)


def _installed(site: Path) -> Path:
    """What a container has of the project: its packages and the app's file, and nothing else."""
    for name in ("functions", "shared"):
        shutil.copytree(ROOT / name, site / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "modal_app.py", site)
    return site
