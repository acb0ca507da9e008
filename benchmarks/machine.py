"""What the figures were measured on."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path


def describe(threads: int) -> dict[str, str]:
    """The machine and the versions, as name and value."""
    return {
        "CPU": _cpu_model(),
        "cores": str(len(os.sched_getaffinity(0))),
        "threads per server": str(threads),
        "memory": f"{_memory_gib():.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "llama.cpp flags of pilotlight": _system_info(),
        **{name: _version(name) for name in ("pilotlight", "llama-cpp-python", "uvloop")},
        "llama-server": _llama_server_version(),
        "load average before": f"{os.getloadavg()[0]:.2f}",
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"


def _system_info() -> str:
    try:
        import llama_cpp
    except ImportError:
        return "unknown"
    info: bytes = llama_cpp.llama_print_system_info()
    features = (part.partition("=") for part in info.decode().split("|"))
    return " ".join(
        name.split(":")[-1].strip() for name, _, value in features if value.strip() == "1"
    )


def _llama_server_version() -> str:
    binary = os.environ.get("LLAMA_SERVER")
    if not binary:
        return "not taking part"
    output = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False)
    return next((line for line in output.stderr.splitlines() if line.startswith("version")), "?")
