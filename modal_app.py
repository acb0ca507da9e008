"""pilotlight on Modal: ``modal deploy modal_app.py``. See docs/deploy-modal.md.

Two functions: Inference, with a GPU and the model, serves the whole API. Api has neither and serves
what is stored, so that reading it wakes no GPU. Both cost nothing while nobody calls them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import modal

from functions.modal.deployment import BUCKET, MODELS, PORT, PREFIXES, Deployment, DeploymentError
from functions.modal.images import api_image, gpu_image

if TYPE_CHECKING:
    from functions.modal.container import InferenceContainer

try:
    here = Deployment.from_environment()
except DeploymentError as error:
    raise SystemExit(f"DeploymentError: {error}") from None
app = modal.App(here.app)

aws = [modal.Secret.from_name(here.aws_secret)] if here.aws_secret else []
keys = (
    [modal.Secret.from_name(here.api_key_secret, required_keys=["PILOTLIGHT_API_KEY_HASH"])]
    if here.api_key_secret
    else []
)
upstreams = [modal.Secret.from_name(here.upstream_secret)] if here.upstream_secret else []
hub = [modal.Secret.from_name(here.hf_secret)] if here.hf_secret else []

models = modal.Volume.from_name(here.volume, create_if_missing=True)
volumes: dict[str, Any] = {MODELS: models}
prefixes = (
    modal.Volume.from_name(here.prefix_volume, create_if_missing=True)
    if here.prefix_volume
    else None
)
prefix_volumes: dict[Any, Any] = {PREFIXES: prefixes} if prefixes is not None else {}
if here.bucket:
    volumes[BUCKET] = modal.CloudBucketMount(
        here.bucket,
        bucket_endpoint_url=here.bucket_endpoint or None,
        secret=aws[0] if aws else None,
        read_only=True,
    )

gpu_function: dict[str, Any] = {
    "image": gpu_image(here, models),
    "gpu": list(here.gpu) if len(here.gpu) > 1 else here.gpu[0],
    "cpu": here.cpu,
    "memory": here.memory,
    "volumes": {**volumes, **prefix_volumes},
    "secrets": [*keys, *aws, *hub, *upstreams],
    "env": here.container_environment(),
    "min_containers": here.min_containers,
    "max_containers": here.max_containers,
    "scaledown_window": here.scaledown_window,
    "startup_timeout": here.startup_timeout,
    "enable_memory_snapshot": here.memory_snapshot,
    "experimental_options": {"enable_gpu_snapshot": True} if here.gpu_snapshot else {},
}
regions = list(here.region) or None


class Lifecycle:
    """What Modal calls in a container's life."""

    container: InferenceContainer

    @modal.enter(snap=here.memory_snapshot)
    def prepare(self) -> None:
        """Run before the snapshot, if one is taken."""
        from functions.modal.container import InferenceContainer

        self.container = InferenceContainer(here)
        self.container.fetch()
        if not modal.is_local():
            models.commit()  # Modal does so by itself, but a snapshot does not wait for it
        self.container.prepare()

    @modal.enter()
    def start(self) -> None:
        """Run in every container, restored or not."""
        if prefixes is not None and not modal.is_local():
            prefixes.reload()  # a snapshot has the files that there were when it was taken
        self.container.start()

    @modal.exit()
    async def stop(self) -> None:
        """Run before the container ends, within 30 seconds."""
        await self.container.stop()


if here.handler == "asgi":

    @app.cls(**gpu_function, timeout=here.timeout, region=regions)
    @modal.concurrent(max_inputs=here.max_inputs, target_inputs=here.parallel)
    class Inference(Lifecycle):
        """The GPU function as a web function: requests wait at Modal while a container starts."""

        @modal.asgi_app(requires_proxy_auth=here.proxy_auth)
        def web(self) -> Any:
            """The ASGI app."""
            return self.container.asgi()

else:

    @app.server(
        **gpu_function,
        port=PORT,
        target_concurrency=here.parallel,
        exit_grace_period=int(here.grace_period) + 5,
        unauthenticated=not here.proxy_auth,
        routing_region=here.routing_region,
        compute_region=regions,
    )
    class Inference(Lifecycle):  # type: ignore[no-redef]
        """The GPU function as a server: less on the way of a request, but 503 while none runs."""

        @modal.enter()
        def listen(self) -> None:
            """Run after `Lifecycle.start`."""
            self.container.listen(PORT)


@app.cls(
    image=api_image(here),
    cpu=0.25,
    memory=512,
    volumes=prefix_volumes,
    secrets=[*keys, *aws, *upstreams],
    env=here.container_environment(),
    timeout=here.timeout,
    scaledown_window=here.scaledown_window,
    enable_memory_snapshot=True,
    region=regions,
)
@modal.concurrent(max_inputs=100)
class Api:
    """The function without a model."""

    @modal.enter(snap=True)
    def prepare(self) -> None:
        """Import, for the snapshot to hold it."""
        import functions.modal.api_container  # noqa: F401

    @modal.asgi_app(requires_proxy_auth=here.proxy_auth)
    def web(self) -> Any:
        """The ASGI app."""
        from functions.modal.api_container import api_app

        return api_app(here)


@app.local_entrypoint()
def smoke(url: str = "", api_url: str = "", key: str = "") -> None:
    """Try a deployment: ``modal run modal_app.py``."""
    from functions.modal.smoke import SmokeTestError, smoke_test

    try:
        smoke_test(here, url=url, api_url=api_url, key=key)
    except SmokeTestError as error:
        raise SystemExit(f"smoke test: {error}") from None
