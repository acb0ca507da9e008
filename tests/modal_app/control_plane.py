"""A stand-in for Modal's control plane: `modal deploy` talks to it, and it remembers what it said.

It speaks Modal's protocol by the classes of the `modal` package itself. What needs no particular
answer gets an empty one.
"""

from __future__ import annotations

import asyncio
import hashlib
import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from inspect import isawaitable
from pathlib import Path
from typing import Any, TypeAlias

from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server, Stream
from modal_proto import api_pb2
from modal_proto.api_grpc import ModalClientBase

from tests.modal_app.variables import environment

ROOT = Path(__file__).resolve().parents[2]
BUILDER_VERSION = "2025.06"
"""Of the images: which Dockerfile commands the client writes around the project's own."""

Message: TypeAlias = Any
"""Of Protocol Buffers, whose package has no types."""


class ControlPlane:
    """Serves on a free port of the loopback, on a thread, until it is closed."""

    def __init__(self) -> None:
        self.requests: list[Message] = []
        self.uploaded: set[str] = set()
        """Paths of the files that images and functions were given."""
        self.urls: dict[str, str] = {}
        """Where classes that are deployed are served, by their names."""
        self._objects: dict[str, Message] = {}
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(300)

    def deploy(self, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run ``modal deploy modal_app.py`` against it."""
        return self.modal("deploy", "modal_app.py", **variables)

    def modal(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run ``modal ARGUMENTS``, with no settings but ``variables``."""
        return self.python("-m", "modal", *arguments, **variables)

    def python(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run Python with an account here, and with no settings but ``variables``."""
        account = {
            "MODAL_SERVER_URL": self.url,
            "MODAL_TOKEN_ID": "ak-tests",
            "MODAL_TOKEN_SECRET": "as-tests",
            "MODAL_LOGS_TIMEOUT": "0.1",  # for what containers still log at the end
        }
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=environment({**account, **variables}),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def sent(self, kind: type[Any]) -> list[Any]:
        """All requests of one type."""
        return [request for request in self.requests if isinstance(request, kind)]

    def function(self, name: str) -> api_pb2.Function:
        """The function ``name`` as it was created; of several GPUs, for the first."""
        for request in self.sent(api_pb2.FunctionCreateRequest):
            ranked = request.function_data.ranked_functions
            found: api_pb2.Function = ranked[0].function if ranked else request.function
            if found.function_name == name:
                return found
        raise LookupError(name)

    def dockerfile(self, function: api_pb2.Function) -> str:
        """The commands of all layers of a function's image, the base first."""
        layers = reversed(list(self._layers(function)))
        return "\n".join("\n".join(layer.dockerfile_commands) for layer in layers)

    def build_arguments(self, function: api_pb2.Function) -> tuple[Any, ...]:
        """What the one function is called with that builds a layer of a function's image."""
        (arguments,) = (
            pickle.loads(image.build_function.input.args)[0]
            for image in self._layers(function)
            if image.HasField("build_function")
        )
        assert isinstance(arguments, tuple)
        return arguments

    def _layers(self, function: api_pb2.Function) -> Iterator[api_pb2.Image]:
        image_id = function.image_id
        while image_id:
            image = self._objects[image_id].image
            yield image
            image_id = image.base_images[0].image_id if image.base_images else ""

    def secrets(self, function: api_pb2.Function) -> list[api_pb2.SecretGetOrCreateRequest]:
        """A function's secrets: named ones, and one that holds the environment."""
        found = [self._objects[each] for each in function.secret_ids]
        return [each for each in found if isinstance(each, api_pb2.SecretGetOrCreateRequest)]

    def environment(self, function: api_pb2.Function) -> dict[str, str]:
        """A function's variables."""
        return {n: v for secret in self.secrets(function) for n, v in secret.env_dict.items()}

    def close(self) -> None:
        """Stop."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __mapping__(self) -> Mapping[str, Handler]:
        """What grpclib's server asks for: a handler for each method of Modal's service."""
        ModalClientBase.__abstractmethods__ = frozenset()
        return {
            path: handler._replace(func=self._handler(path, handler))
            for path, handler in ModalClientBase().__mapping__().items()  # type: ignore[abstract]
        }

    def _handler(self, path: str, handler: Handler) -> Callable[[Stream[Any, Any]], Any]:
        name = path.rpartition("/")[2]
        answer = getattr(self, f"_answer_{name}", None)

        async def handle(stream: Stream[Any, Any]) -> None:
            request = await stream.recv_message()
            assert request is not None
            self.requests.append(request)
            reply = answer(request) if answer else None
            if isawaitable(reply):
                reply = await reply
            if reply is None and handler.cardinality is Cardinality.UNARY_UNARY:
                reply = handler.reply_type()
            if reply is not None:
                await stream.send_message(reply)

        return handle

    def _new(self, prefix: str, request: Message) -> str:
        """The id of an object, the same for an equal request."""
        digest = hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest()[:20]
        name = f"{prefix}-{digest}"
        self._objects[name] = request
        return name

    def _answer_ClientHello(self, _: Message) -> api_pb2.ClientHelloResponse:
        return api_pb2.ClientHelloResponse(image_builder_version=BUILDER_VERSION)

    def _answer_AuthTokenGet(self, _: Message) -> api_pb2.AuthTokenGetResponse:
        return api_pb2.AuthTokenGetResponse(token="eyJhbGciOiJub25lIn0.eyJleHAiOjk5OTk5OTk5OTl9.")

    def _answer_EnvironmentGetOrCreate(
        self, request: Message
    ) -> api_pb2.EnvironmentGetOrCreateResponse:
        return api_pb2.EnvironmentGetOrCreateResponse(
            environment_id=self._new("en", request),
            metadata=api_pb2.EnvironmentMetadata(
                name="main",
                settings=api_pb2.EnvironmentSettings(image_builder_version=BUILDER_VERSION),
            ),
        )

    def _answer_AppGetOrCreate(self, request: Message) -> api_pb2.AppGetOrCreateResponse:
        return api_pb2.AppGetOrCreateResponse(app_id=self._new("ap", request))

    def _answer_AppCreate(self, request: Message) -> api_pb2.AppCreateResponse:
        return api_pb2.AppCreateResponse(app_id=self._new("ap", request))

    def _answer_AppPublish(self, _: Message) -> api_pb2.AppPublishResponse:
        return api_pb2.AppPublishResponse(url="http://127.0.0.1/app")

    def _answer_MountPutFile(self, _: Message) -> api_pb2.MountPutFileResponse:
        return api_pb2.MountPutFileResponse(exists=True)

    def _answer_MountGetOrCreate(
        self, request: api_pb2.MountGetOrCreateRequest
    ) -> api_pb2.MountGetOrCreateResponse:
        self.uploaded |= {file.filename for file in request.files}
        return api_pb2.MountGetOrCreateResponse(mount_id=self._new("mo", request))

    def _answer_ImageGetOrCreate(self, request: Message) -> api_pb2.ImageGetOrCreateResponse:
        return api_pb2.ImageGetOrCreateResponse(
            image_id=self._new("im", request),
            result=api_pb2.GenericResult(status=api_pb2.GenericResult.GENERIC_STATUS_SUCCESS),
            metadata=api_pb2.ImageMetadata(image_builder_version=BUILDER_VERSION),
        )

    def _answer_SecretGetOrCreate(self, request: Message) -> api_pb2.SecretGetOrCreateResponse:
        return api_pb2.SecretGetOrCreateResponse(secret_id=self._new("st", request))

    def _answer_VolumeGetOrCreate(self, request: Message) -> api_pb2.VolumeGetOrCreateResponse:
        return api_pb2.VolumeGetOrCreateResponse(volume_id=self._new("vo", request))

    def _answer_FunctionPrecreate(
        self, request: api_pb2.FunctionPrecreateRequest
    ) -> api_pb2.FunctionPrecreateResponse:
        return api_pb2.FunctionPrecreateResponse(
            function_id=self._new("fu", request),
            handle_metadata=_metadata(request.function_name, request.method_definitions),
        )

    def _answer_FunctionCreate(
        self, request: api_pb2.FunctionCreateRequest
    ) -> api_pb2.FunctionCreateResponse:
        data = request.function_data
        if not data.ranked_functions:
            data = _ranked(request.function)
        created = data.ranked_functions[0].function
        return api_pb2.FunctionCreateResponse(
            function_id=request.existing_function_id or self._new("fu", request),
            function=request.function,
            function_data=data,
            handle_metadata=_metadata(created.function_name, created.method_definitions),
        )

    def _answer_ClassGet(self, request: api_pb2.ClassGetRequest) -> api_pb2.ClassGetResponse:
        return api_pb2.ClassGetResponse(class_id=f"cs-{request.object_tag}")

    def _answer_FunctionGet(
        self, request: api_pb2.FunctionGetRequest
    ) -> api_pb2.FunctionGetResponse:
        class_name = request.object_tag.removesuffix(".*")
        if class_name not in self.urls:
            raise GRPCError(Status.NOT_FOUND, f"no {class_name} is deployed")
        url = self.urls[class_name]
        web = api_pb2.FunctionHandleMetadata(function_name=f"{class_name}.web", web_url=url)
        return api_pb2.FunctionGetResponse(
            function_id=f"fu-{class_name}",
            function=_ranked(api_pb2.Function(function_name=request.object_tag)),
            handle_metadata=api_pb2.FunctionHandleMetadata(
                function_name=request.object_tag,
                method_handle_metadata={"web": web},
                _experimental_flash_urls=[url],
            ),
        )

    def _answer_ClassCreate(self, request: Message) -> api_pb2.ClassCreateResponse:
        return api_pb2.ClassCreateResponse(class_id=self._new("cs", request))

    async def _answer_AppGetLogs(self, _: Message) -> None:
        await asyncio.Event().wait()  # nothing is logged; an end would be asked for more at once

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._start())
        self._ready.set()
        self._loop.run_forever()
        self._server.close()
        self._loop.run_until_complete(self._server.wait_closed())

    async def _start(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._server = Server([self])
        await self._server.start(sock=listener)


def _ranked(function: api_pb2.Function) -> api_pb2.FunctionData:
    """A function as the only alternative; with several GPUs there are more."""
    only = api_pb2.FunctionData.RankedFunction(function=function)
    return api_pb2.FunctionData(ranked_functions=[only])


def _metadata(
    name: str, methods: Mapping[str, api_pb2.MethodDefinition]
) -> api_pb2.FunctionHandleMetadata:
    """What the client keeps of a function, or of a class with its methods."""
    return api_pb2.FunctionHandleMetadata(
        function_name=name,
        method_handle_metadata={
            method: api_pb2.FunctionHandleMetadata(
                function_name=definition.function_name,
                web_url=f"http://127.0.0.1/{definition.function_name}",
            )
            for method, definition in methods.items()
        },
    )
