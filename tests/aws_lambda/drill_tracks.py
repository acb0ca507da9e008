"""The failures of `docs/failure-drill.md`, brought about.

Functions run side by side, each through its failures in order, since most of the time they wait:
for stores that hang, or for an initialization's time to be over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from functions.aws_lambda.buffered_handler import RESPONSE_LIMIT
from shared.models.sources import BUILTIN_PATH
from shared.runtime.configured_keys import ConfiguredKeys
from shared.storage.types import StoredCompletion
from tests.aws_lambda.conftest import StartFunction
from tests.aws_lambda.drill import ACCESS_KEY, CHAT, Caller, Outcome
from tests.aws_lambda.drill_page import failures
from tests.aws_lambda.drill_store import (
    BUCKET_DENIED,
    EXPIRED,
    NO_BUCKET,
    PROVISIONED,
    TABLE_DENIED,
    THROTTLED,
    Store,
    at_first,
    faulty_store,
)
from tests.aws_lambda.events import KEY
from tests.aws_lambda.function import API, INFERENCE, TASK_ROOT
from tests.aws_lambda.streaming import StreamingServer
from tests.models.s3_server import BUCKET, S3Server, environment
from tests.server import START_SECONDS, user, wait_until
from tests.storage.completions import sample
from tests.storage.dynamodb.aws import Aws
from tests.storage.dynamodb.faults import Fault, Plan

OWNER = ConfiguredKeys([KEY]).owner(KEY.encode())
assert OWNER is not None
TENANT = OWNER.tenant
SNAP_START = {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}
NO_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}

Found = list[tuple[tuple[str, str], Outcome]]
"""Section and failure as the page has them, and what came of it."""


@dataclass(frozen=True, slots=True)
class Drill:
    """What tracks start their functions with."""

    start_function: StartFunction
    start_server: Callable[[dict[str, str]], StreamingServer]
    aws: Aws
    models: S3Server
    expired: S3Server
    directory: Path

    def function(self, environ: dict[str, str], handler: str = INFERENCE) -> Caller:
        """Behind the runtime client."""
        return Caller(self.start_function(handler, environ))

    def server(self, environ: dict[str, str]) -> Caller:
        """The streaming handler."""
        return Caller(self.start_server(environ))

    def model(self, key: str, bucket: str = BUCKET, **environ: str) -> dict[str, str]:
        """The environment of a function whose model is there."""
        return {
            **environment(self.models.url),
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "PILOTLIGHT_MODEL": f"s3://{bucket}/{key}",
            **environ,
        }


def models(drill: Drill) -> Found:
    """A model that can't be had: on demand the first caller is told."""
    large = {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "2"}
    long = {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512", "PILOTLIGHT_CTX_SIZE": "2000000"}
    key = drill.model("none.gguf")
    expired = drill.model("model.gguf", AWS_ENDPOINT_URL_S3=drill.expired.url)
    environs = {
        "there is no such key": key,
        "there is no such bucket": drill.model("model.gguf", "nowhere"),
        "reading is denied": drill.model("model.gguf", "denied"),
        "the key is not of a GGUF file": drill.model("model.bin"),
        "the object is no model": drill.model("text.gguf"),
        "the object ends too early": drill.model("cut.gguf"),
        "no credentials": drill.model("model.gguf", **NO_CREDENTIALS),
        "credentials have expired": expired,
        "memory is too small for the model": drill.model("model.gguf", **large),
        "memory is too small for the context": drill.model("model.gguf", **long),
    }
    found = [
        (("Models", failure), drill.function(environ).chat())
        for failure, environ in environs.items()
    ]
    ends = [drill.function(key | SNAP_START), drill.server(key)]
    return found + [
        (("Models", "the same where no caller waits"), handler.end()) for handler in ends
    ]


def slow_model(drill: Drill) -> Found:
    """Loading takes longer than an initialization may."""
    may_answer = threading.Event()
    server = S3Server()
    server.put("model.gguf", BUILTIN_PATH.read_bytes())
    server.on_get = lambda _: (may_answer.wait(60), None)[1]
    with server.serving():
        environ = drill.model("model.gguf", AWS_ENDPOINT_URL_S3=server.url)
        function = drill.function(environ)
        early = function.chat(timeout=1.5)
        may_answer.set()
        assert function.chat().answer == "200"
    return [(("Models", "loading takes longer than the invocation"), early)]


def settings(drill: Drill) -> Found:
    """Settings that are wrong."""
    file = drill.directory / "pilotlight.toml"
    file.write_text("sotre = 'none'\n", encoding="ascii")
    environs = {
        "no key": {"PILOTLIGHT_API_KEY_HASH": ""},
        "a key instead of its hash": {"PILOTLIGHT_API_KEY_HASH": KEY},
        "the store is none": {"PILOTLIGHT_STORE": "dynamodb:completions"},
        "no number": {"PILOTLIGHT_CTX_SIZE": "many"},
        "a misspelled variable": {"PILOTLIGHT_SOTRE": "none"},
        "a misspelled setting in a file": {"PILOTLIGHT_CONFIG": str(file)},
    }
    found: Found = []
    for failure, environ in environs.items():
        functions = [drill.function(environ, API)]
        if failure == "the store is none":
            functions += [drill.function(environ), drill.server(environ)]
        found += [(("Settings", failure), function.end()) for function in functions]
    return found


def writes(drill: Drill, start: Callable[[dict[str, str]], Caller]) -> Found:
    """A completion is to be stored and can't be."""
    found: Found = []
    with faulty_store(drill.aws.url) as store:
        caller = start(store.environ)
        handler = caller.function
        if isinstance(handler, StreamingServer):
            handler.await_health(200)

        def note(failure: str, plan: Plan | None = None, timeout: float = 29.0) -> None:
            store.proxy.reset(plan)
            outcome = caller.chat(timeout, store=True)
            found.append((("Storing", failure), outcome))
            if plan is None and isinstance(handler, StreamingServer):
                streamed = caller.chat(timeout, store=True, stream=True)
                found.append((("Storing", failure), streamed))

        note("the bucket is missing")
        store.create_bucket()
        note("the table is missing")
        store.create()
        note("the table is denied", TABLE_DENIED)
        note("the bucket is denied", BUCKET_DENIED)
        note("credentials have expired", EXPIRED)
        note("the table is throttled for a moment", at_first(PROVISIONED, 4))
        note("the table is throttled", THROTTLED)
        note("the store hangs until the deadline", lambda *_: Fault("timeout"), 2.5)
        store.proxy.reset()
        found.append((("Storing", "the same, when the store answers again"), _late(caller)))
        found.append((("Storing", "no credentials"), _without_credentials(store, start)))
    return found


def _late(caller: Caller) -> Outcome:
    """What is logged of an earlier request's write, during one of those that follow."""
    outcomes: list[Outcome] = []

    def is_told() -> bool:
        outcomes.append(caller.chat())
        return bool(outcomes[-1].log)

    wait_until(is_told, "the earlier write to end", START_SECONDS)
    return outcomes[-1]


def _without_credentials(store: Store, start: Callable[[dict[str, str]], Caller]) -> Outcome:
    caller = start(store.environ | NO_CREDENTIALS)
    if isinstance(caller.function, StreamingServer):
        caller.function.await_health(200)
    return caller.chat(store=True)


def buffered_writes(drill: Drill) -> Found:
    """Behind API Gateway."""
    return writes(drill, drill.function)


def streaming_writes(drill: Drill) -> Found:
    """Behind the Lambda Web Adapter."""
    return writes(drill, drill.server)


def reads(drill: Drill) -> Found:
    """Stored completions are asked for and can't be had."""
    found: Found = []
    with faulty_store(drill.aws.url) as store:
        function = drill.function(store.environ, API)
        completion = sample(tenant=TENANT)
        item = f"{CHAT}/{completion.id}"

        def note(failure: str, plan: Plan | None, method: str = "GET", path: str = CHAT) -> None:
            store.proxy.reset(plan)
            found.append((("Reading", failure), function.invoke(method, path)))

        note("the table is missing, for a list", None)
        note("the table is missing, for one", None, "GET", item)
        note("the table is missing, for one", None, "DELETE", item)
        store.create()
        store.aws.preload([completion])
        note("the table is denied", TABLE_DENIED)
        note("the bucket is missing", NO_BUCKET)
        note("the bucket is denied", BUCKET_DENIED, "GET", item)
        note("credentials have expired", EXPIRED, "GET", item)
        note("the table is throttled for a moment", at_first(PROVISIONED, 4))
        note("the table is throttled", THROTTLED)
        note("the table does not answer", lambda *_: Fault("timeout"))
        store.proxy.reset()
        store.aws.preload(_large_completions())
        too_large = function.invoke("GET", CHAT)
        found.append((("Time and size", "the response is too large"), too_large))
        forgetful = drill.function(store.environ | NO_CREDENTIALS, API)
        found.append((("Reading", "no credentials"), forgetful.invoke("GET", CHAT)))
    return found


def _large_completions() -> list[StoredCompletion]:
    """Somewhat too large together."""
    choice = {"index": 0, "message": {"role": "assistant", "content": "x" * (RESPONSE_LIMIT // 2)}}
    whole = sample(tenant=TENANT).response
    return [
        sample(number, tenant=TENANT, response={**whole, "choices": [choice]}) for number in (1, 2)
    ]


def engine(drill: Drill) -> Found:
    """What happens inside."""
    found: Found = []
    for handler in (drill.function, drill.server):
        order = drill.directory / f"sabotage-{handler.__name__}"
        path = f"{Path(__file__).with_name('sabotage')}:{TASK_ROOT}"
        caller = handler({"PYTHONPATH": path, "SABOTAGE_FILE": str(order)})
        if is_server := isinstance(caller.function, StreamingServer):
            caller.function.await_health(200)
        story = {"messages": user("Tell me a story"), "ignore_eos": True, "max_tokens": 2000}
        found.append((("Time and size", "the deadline comes first"), caller.chat(2.5, **story)))
        order.write_text("batch", encoding="ascii")
        found.append((("The engine", "llama.cpp fails at a batch"), caller.chat()))
        assert caller.chat().answer == "200"
        order.write_text("engine", encoding="ascii")
        if is_server:
            streamed = caller.chat(stream=True)
            found.append((("The engine", "its thread dies during a stream"), streamed))
            found.append((("The engine", "afterwards, behind the adapter"), caller.end()))
        else:
            found.append((("The engine", "its thread dies"), caller.chat()))
            found.append((("The engine", "afterwards, the HTTP API"), caller.chat()))
    return found


TRACKS = {
    slow_model: {("Models", "loading takes longer than the invocation")},
    buffered_writes: {key for key in failures() if key[0] == "Storing"},
    streaming_writes: {key for key in failures() if key[0] == "Storing"},
    reads: {key for key in failures() if key[0] == "Reading"}
    | {("Time and size", "the response is too large")},
    engine: {key for key in failures() if key[0] == "The engine"}
    | {("Time and size", "the deadline comes first")},
    models: {
        key
        for key in failures()
        if key[0] == "Models" and key[1] != "loading takes longer than the invocation"
    },
    settings: {key for key in failures() if key[0] == "Settings"},
}
"""Those that wait first."""
