"""What ``modal deploy`` asks Modal for, with the real client against a control plane of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from modal_proto import api_pb2

from tests.modal_app.control_plane import ControlPlane
from tests.modal_app.variables import KEY_HASH

HASH = {"PILOTLIGHT_API_KEY_HASH": KEY_HASH}


def deployed(plane: ControlPlane, **variables: str) -> api_pb2.Function:
    """The GPU function, deployed with ``variables``."""
    ended = plane.deploy(**{**HASH, **variables})
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "deprecat" not in (ended.stdout + ended.stderr).lower()
    return plane.function("Inference.*")


@pytest.fixture(scope="module")
def plane(processes: None) -> Iterator[ControlPlane]:
    """A control plane with one deployment, which is by default."""
    plane = ControlPlane()
    deployed(plane)
    yield plane
    plane.close()


class TestByDefault:
    """With nothing set but a key's hash."""

    def test_the_gpu_function_scales_from_zero_to_a_limit(self, plane: ControlPlane) -> None:
        function = plane.function("Inference.*")
        gpu = function.resources.gpu_config
        scaling = function.autoscaler_settings

        assert (gpu.gpu_type, gpu.count) == ("L4", 1)
        assert (function.resources.milli_cpu, function.resources.memory_mb) == (2000, 4096)
        assert (scaling.min_containers, scaling.max_containers) == (0, 4)
        assert scaling.scaledown_window == 60
        assert (function.startup_timeout_secs, function.timeout_secs) == (1200, 900)

    def test_a_container_takes_what_its_engine_batches_and_queues(
        self, plane: ControlPlane
    ) -> None:
        function = plane.function("Inference.*")
        environment = plane.environment(function)

        assert function.target_concurrent_inputs == int(environment["PILOTLIGHT_PARALLEL"])
        assert function.max_concurrent_inputs == int(environment["PILOTLIGHT_MAX_QUEUE"])
        assert function.max_concurrent_inputs > function.target_concurrent_inputs

    def test_memory_is_snapshotted_but_not_the_gpus(self, plane: ControlPlane) -> None:
        function = plane.function("Inference.*")

        assert function.checkpointing_enabled
        assert not function.experimental_options

    def test_models_are_kept_in_a_volume(self, plane: ControlPlane) -> None:
        function = plane.function("Inference.*")
        environment = plane.environment(function)
        (volume,) = plane.sent(api_pb2.VolumeGetOrCreateRequest)

        assert [mount.mount_path for mount in function.volume_mounts] == ["/models"]
        assert volume.deployment_name == "pilotlight-models"
        assert environment["PILOTLIGHT_MODEL_CACHE"].startswith("/models/")
        assert environment["HF_HOME"].startswith("/models/")
        assert not environment["HF_XET_CACHE"].startswith("/models/")

    def test_llama_cpp_is_compiled_for_the_gpu(self, plane: ControlPlane) -> None:
        function = plane.function("Inference.*")
        dockerfile = plane.dockerfile(function)
        requirement, flags, cuda, wheels = plane.build_arguments(function)
        builder = plane.function("install_llama")

        assert "FROM nvidia/cuda:12.9.1-devel-ubuntu24.04" in dockerfile
        assert (requirement, cuda) == ("llama-cpp-python==0.3.36", "12.9.1")
        assert wheels == "/models/wheels"
        assert [mount.mount_path for mount in builder.volume_mounts] == ["/models"]
        assert (builder.resources.milli_cpu, builder.resources.memory_mb) == (16000, 32768)
        assert not builder.resources.gpu_config.gpu_type
        assert "--constraint /build/constraints.txt" in dockerfile
        assert "-DGGML_CUDA=ON" in flags
        assert "-DCMAKE_CUDA_ARCHITECTURES=89" in flags
        assert "-DGGML_NATIVE=OFF" in flags
        assert "-DLLAVA_BUILD=OFF -DCMAKE_PROJECT_llama.cpp_INCLUDE=/build/llama.cmake" in flags
        assert "/build/llama.cmake" in plane.uploaded

    def test_the_function_without_a_model_has_no_gpu_and_no_engine(
        self, plane: ControlPlane
    ) -> None:
        function = plane.function("Api.*")
        dockerfile = plane.dockerfile(function)

        assert not function.resources.gpu_config.gpu_type
        assert function.checkpointing_enabled
        assert function.max_concurrent_inputs == 100
        assert not any(name in dockerfile for name in ("llama", "numpy", "llguidance", "nvidia"))

    def test_nothing_is_uploaded_but_the_code(self, plane: ControlPlane) -> None:
        places = {path.split("/")[1] for path in plane.uploaded}
        under_build = {path.split("/")[2] for path in plane.uploaded if path.startswith("/build/")}

        assert places == {"build", "root"}
        assert under_build == {
            *("constraints.txt", "pyproject.toml", "README.md", "LICENSE"),
            *("functions", "shared", "llama.cmake"),
        }
        # The package of the function that compiles goes to the machine on which it runs.
        assert {
            path
            for path in plane.uploaded
            if path.startswith("/root") and not path.startswith("/root/functions/")
        } == {"/root/modal_app.py"}
        assert "/build/shared/models/builtin.gguf" in plane.uploaded
        assert not any("__pycache__" in path for path in plane.uploaded)

    def test_both_have_urls(self, plane: ControlPlane) -> None:
        for name in ("Inference.*", "Api.*"):
            web = plane.function(name).method_definitions["web"].webhook_config
            assert web.type == api_pb2.WEBHOOK_TYPE_ASGI_APP
            assert not web.requires_proxy_auth


def test_settings_and_their_file_reach_the_container_and_keys_do_not(
    control_plane: ControlPlane,
) -> None:
    function = deployed(
        control_plane,
        PILOTLIGHT_API_KEY="a-key",
        PILOTLIGHT_MODEL="hf:owner/repo:model.gguf",
        PILOTLIGHT_CTX_SIZE="65536",
        PILOTLIGHT_CONFIG="pyproject.toml",
        PILOTLIGHT_MODAL_MAX_CONTAINERS="2",
    )

    environment = control_plane.environment(function)
    assert environment["PILOTLIGHT_MODEL"] == "hf:owner/repo:model.gguf"
    assert environment["PILOTLIGHT_CTX_SIZE"] == "65536"
    assert environment["PILOTLIGHT_MODAL_MAX_CONTAINERS"] == "2"
    assert environment["PILOTLIGHT_API_KEY_HASH"] == KEY_HASH
    assert "a-key" not in environment.values()
    assert environment["PILOTLIGHT_CONFIG"] == "/etc/pilotlight/pilotlight.toml"
    assert "/etc/pilotlight/pilotlight.toml" in control_plane.uploaded


def test_both_functions_have_the_volume_of_prefixes(control_plane: ControlPlane) -> None:
    """The one without a model deletes what archived projects had."""
    function = deployed(
        control_plane,
        PILOTLIGHT_MODAL_PREFIX_VOLUME="prompts",
        PILOTLIGHT_WARM_PREFIX="README.md",
    )

    names = [v.deployment_name for v in control_plane.sent(api_pb2.VolumeGetOrCreateRequest)]
    assert names.count("prompts") == 1
    assert {mount.mount_path for mount in function.volume_mounts} == {"/models", "/prefixes"}
    api = control_plane.function("Api.*")
    assert [mount.mount_path for mount in api.volume_mounts] == ["/prefixes"]
    environment = control_plane.environment(function)
    assert environment["PILOTLIGHT_PREFIX_STORE"] == "/prefixes"
    assert environment["PILOTLIGHT_WARM_PREFIX"] in control_plane.uploaded


def test_gpus_in_order_of_preference(control_plane: ControlPlane) -> None:
    deployed(control_plane, PILOTLIGHT_MODAL_GPU="H100:2,A100-80GB")

    (request,) = (
        each
        for each in control_plane.sent(api_pb2.FunctionCreateRequest)
        if each.function_data.ranked_functions
    )
    gpus = [
        (each.function.resources.gpu_config.gpu_type, each.function.resources.gpu_config.count)
        for each in request.function_data.ranked_functions
    ]
    _, flags, *_ = control_plane.build_arguments(control_plane.function("Inference.*"))
    assert gpus == [("H100", 2), ("A100-80GB", 1)]
    assert "-DCMAKE_CUDA_ARCHITECTURES=80;90" in flags


def test_wheels_are_installed_instead_of_compiling(control_plane: ControlPlane) -> None:
    function = deployed(control_plane, PILOTLIGHT_MODAL_CUDA_WHEELS="https://wheels.test/cu124")

    dockerfile = control_plane.dockerfile(function)
    assert "FROM nvidia/cuda:12.9.1-runtime-ubuntu24.04" in dockerfile
    assert "--extra-index-url https://wheels.test/cu124" in dockerfile
    assert "--only-binary llama-cpp-python" in dockerfile


def test_secrets_bucket_region_and_gpu_snapshots(control_plane: ControlPlane) -> None:
    function = deployed(
        control_plane,
        PILOTLIGHT_API_KEY_HASH="",
        PILOTLIGHT_MODAL_API_KEY_SECRET="keys",
        PILOTLIGHT_MODAL_AWS_SECRET="aws",
        PILOTLIGHT_MODAL_HF_SECRET="hub",
        PILOTLIGHT_MODAL_BUCKET="my-models",
        PILOTLIGHT_MODAL_REGION="us-east,us-west",
        PILOTLIGHT_MODAL_GPU_SNAPSHOT="true",
        PILOTLIGHT_MODAL_PROXY_AUTH="true",
    )

    secrets = {
        each.deployment_name: list(each.required_keys) for each in control_plane.secrets(function)
    }
    api_secrets = control_plane.secrets(control_plane.function("Api.*"))
    (mount,) = function.cloud_bucket_mounts
    assert secrets == {"keys": ["PILOTLIGHT_API_KEY_HASH"], "aws": [], "hub": [], "": []}
    assert [each.deployment_name for each in api_secrets] == ["keys", "aws", ""]
    assert (mount.bucket_name, mount.mount_path, mount.read_only) == ("my-models", "/bucket", True)
    assert list(function.scheduler_placement.regions) == ["us-east", "us-west"]
    assert function.experimental_options["enable_gpu_snapshot"] == "True"
    assert function.method_definitions["web"].webhook_config.requires_proxy_auth


def test_the_server_handler(control_plane: ControlPlane) -> None:
    ended = control_plane.deploy(
        **HASH, PILOTLIGHT_MODAL_HANDLER="server", PILOTLIGHT_GRACE_PERIOD="120"
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    function = control_plane.function("Inference")

    http = function.http_config
    assert function.is_server
    assert (http.port, http.unauthenticated, http.exit_grace_period) == (8000, True, 125)
    assert list(http.proxy_regions) == ["us-east"]
    assert function.autoscaler_settings.target_concurrency_float == 32
    assert function.startup_timeout_secs == 1200
    assert function.checkpointing_enabled


def test_without_keys_nothing_is_deployed(control_plane: ControlPlane) -> None:
    ended = control_plane.deploy()

    assert ended.returncode != 0
    assert ended.stderr.startswith("DeploymentError: the URLs are public, so keys are needed: set")
    assert "Traceback" not in ended.stderr
    assert control_plane.requests == []
