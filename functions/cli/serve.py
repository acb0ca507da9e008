"""``pilotlight serve``: a process that serves one model and shuts down without losing anything."""

from __future__ import annotations

import gc
import logging
import os
import socket
import sys
import threading
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from functions.cli.standard_output import forget_output
from functions.cli.usage_error import STATUS
from shared.config.settings import Settings
from shared.config.settings_file import did_you_mean
from shared.runtime.loader import ModelLoader
from shared.runtime.logging import configure_logging
from shared.runtime.process import STARTING, set_switch_interval
from shared.storage.location import location_problem

if TYPE_CHECKING:
    from fastapi import FastAPI

    from functions.http.app import App
    from functions.http.server.uvicorn_server import GracefulServer
    from shared.runtime.model_pool import ModelPool
    from shared.runtime.served_model import ServedModel
    from shared.runtime.state import ServerState

_log = logging.getLogger("pilotlight")

_IDLE_SECONDS = 1.0
"""Without a request, before the endpoints of resources are imported for those to come."""
_IDLE_POLL = 0.1

WELCOME = """
pilotlight serves {model} at {url} (documentation: {url}/docs). In a terminal:

curl {url}/v1/chat/completions -H "Authorization: Bearer {key}" \\
  -d '{{"messages": [{{"role": "user", "content": "What is the capital of France?"}}]}}'

In Python, after "pip install openai":

from openai import OpenAI
client = OpenAI(base_url="{url}/v1", api_key="{key}")
messages = [{{"role": "user", "content": "Tell me a story"}}]
print(client.chat.completions.create(model="{model}", messages=messages).choices[0].message.content)

Press Ctrl-C to stop."""

WELCOME_WITHOUT_MODEL = """
pilotlight serves {names} at {url} (models of others)

Press Ctrl-C to stop."""


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status."""
    if not settings.is_loopback and not settings.needs_key:
        print(
            f"pilotlight: without an API key the server listens on loopback only, not on "
            f"{', '.join(settings.host)}.\n"
            "Set one with --api-key KEY, or leave --host at 127.0.0.1.",
            file=sys.stderr,
        )
        return STATUS
    if settings.accounts and (unused := settings.unused_prices):
        names = settings.priceable_names
        for name in unused:
            problem = f"no model is called '{name}'{did_you_mean(name, names)}"
            print(f"pilotlight: --prices (PILOTLIGHT_PRICES): {problem}", file=sys.stderr)
        print(f"Prices are for models that are served: {', '.join(names)}.", file=sys.stderr)
        return STATUS
    configure_logging(settings.log_level)
    set_switch_interval()
    listeners = _listen(settings)
    if not listeners:
        return 1
    if not settings.has_own_model:
        return run_without_model(settings, listeners)
    # Loading begins before the web framework is imported: both take a few hundred milliseconds.
    gc.disable()  # modules are no garbage: looking for it among them took a tenth of the start
    set_switch_interval(STARTING)
    loader = ModelLoader(settings)
    loader.start()
    loader.await_transfer()
    return run(settings, loader, listeners)


def run(settings: Settings, loader: ModelLoader, listeners: list[socket.socket]) -> int:
    """Serve on ``listeners`` while ``loader`` loads; returns the exit status."""
    import_module("shared.runtime.served_model")  # what the loader needs next, before all else
    from functions.http.app import create_app

    app = create_app(settings, loader)
    server = _server(settings, app)
    gc.freeze()  # else the collector would look through all of it as soon as it is enabled
    gc.enable()
    set_switch_interval()
    models: ModelPool = app.state.server.models
    ending = threading.Event()
    importer = threading.Thread(
        target=_import_resources, args=(app, server, ending), name="import-resources", daemon=True
    )
    announcer = threading.Thread(
        target=_announce,
        args=(settings, app, _url(listeners[0]), server, importer),
        name="announcer",
        daemon=True,
    )
    announcer.start()
    server.run(sockets=listeners)
    ending.set()
    if models.is_abandoned:
        print("pilotlight: stopped before the model was loaded", file=sys.stderr, flush=True)
        os._exit(0)  # its threads would go on for as long as fetching takes
    announcer.join()
    if importer.ident is not None:  # else it would be stopped at the interpreter's end, anywhere
        importer.join()
    return 1 if models.error is not None else server.exit_status()


def run_without_model(settings: Settings, listeners: list[socket.socket]) -> int:
    """Serve models of others alone; returns the exit status."""
    from functions.http.api_app import create_api_app

    app = create_api_app(settings, asks_upstreams=True)
    state: ServerState = app.state.server
    server = _server(settings, app)
    if state.tracing is not None:
        state.tracing.start()
    url, names = _url(listeners[0]), ", ".join(settings.upstreams)
    _print(WELCOME_WITHOUT_MODEL.format(url=url, names=names))
    server.run(sockets=listeners)
    state.close()
    return server.exit_status()


def _server(settings: Settings, app: App | FastAPI) -> GracefulServer:
    """The server of an app, which pages of other origins can't use where it needs no key."""
    from functions.http.cors import CrossOriginPolicy
    from functions.http.origin_guard import OriginGuard
    from functions.http.server.uvicorn_server import GracefulServer
    from shared.runtime.background_responses import BackgroundResponses

    app.state.server.background = BackgroundResponses(settings.background_responses)
    if not settings.needs_key:
        app.state.server.guard = OriginGuard(
            settings.allowed_hosts, CrossOriginPolicy.of(settings)
        ).check
        if "*" in settings.cors_origins:
            _log.warning("pages of any site can use this server: --cors-origins is *, without keys")
    return GracefulServer(app, app.state.server, settings.grace_period)


def _announce(
    settings: Settings, app: App, url: str, server: GracefulServer, importer: threading.Thread
) -> None:
    """Say how to use the server once it is ready, or why it never will be; then watch it."""
    models: ModelPool = app.state.server.models
    models.watch(lambda served: _watch(served, server))
    try:
        served = models.wait()
    except Exception as error:  # whatever it was, the process ends with its message
        if not isinstance(error, (ValueError, RuntimeError, OSError)):
            _log.exception("the model could not be loaded", exc_info=error)
        print(f"pilotlight: {error}", file=sys.stderr)
        server.should_exit = True
        return
    if server.should_exit:
        return  # a signal has ended it meanwhile
    if problem := location_problem(settings.store, settings.data_dir):
        _log.warning("completions can't be stored: %s (see --store and --data-dir)", problem)
    # What is loaded by now stays: the collector need not look at it again and again. Nor once
    # more: the first request would wait for it, 90 ms for 100,000 objects, of which 1,700 went.
    gc.freeze()
    welcome = WELCOME.format(url=url, model=served.name, key=_key_shown(settings))
    if settings.is_loopback and not settings.needs_key:
        welcome += "\nNo API key is set, so only this machine can connect."
    _print(welcome)
    importer.start()
    server.end_with(served.engine)


def _import_resources(app: App, server: GracefulServer, ending: threading.Event) -> None:
    """Import what no completion needs once nobody waits for one; end the server if that fails."""
    n_idle = 0
    while n_idle < _IDLE_SECONDS / _IDLE_POLL:
        if ending.wait(_IDLE_POLL):
            return
        n_idle = 0 if app.state.server.n_active else n_idle + 1
    try:
        app.resources()
    except Exception:
        _log.exception("endpoints can't be imported")
        server.fail("not all endpoints can be served")
    gc.freeze()


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _print(welcome: str) -> None:
    try:
        print(welcome, flush=True)
    except OSError:
        forget_output()  # nobody reads it, which is no reason not to serve


def _watch(served: ServedModel, server: GracefulServer) -> None:
    """Watch over a further model's engine, on a thread of its own."""
    watch = partial(server.end_with, served.engine)
    threading.Thread(target=watch, name="watcher", daemon=True).start()


def _key_shown(settings: Settings) -> str:
    return "YOUR_KEY" if settings.needs_key else "unused"


def _listen(settings: Settings) -> list[socket.socket]:
    """Bound sockets, one for each address; none after saying why one can't be bound.

    Where the port is any free one, all have the one that the first is given.
    """
    listeners: list[socket.socket] = []
    port = settings.port
    for host in settings.host:
        try:
            listeners.append(_bound(host, port, is_alone=len(settings.host) == 1))
        except OSError as error:
            print(
                f"pilotlight: can't listen on {host}:{port}: {error.strerror}.\n"
                "Choose another port with --port, or 0 for any free one.",
                file=sys.stderr,
            )
            for listener in listeners:
                listener.close()
            return []
        port = listeners[0].getsockname()[1]
    return listeners


def _bound(host: str, port: int, *, is_alone: bool) -> socket.socket:
    """A socket that listens; raises `OSError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and not is_alone:  # IPv4's addresses are the others'
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    listener.listen(2048)
    listener.setblocking(False)
    return listener
