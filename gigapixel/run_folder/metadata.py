"""metadata.json of a run: the commit, the versions, the device and the seed that its figures come from."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

JAX_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "h5py")
"""Packages that the figures of the teacher depend on."""
STUDENT_PACKAGES = ("jax", "flax", "torch", "torchvision", "timm", "lightning", "numpy", "numba")
"""Packages that the figures of student, adaptation, demo and benchmarks depend on."""


def run_metadata(device: str, seed: int | None, packages: Sequence[str]) -> dict[str, Any]:
    """Content of metadata.json: `commit`, `python`, `versions`, `device` and `seed`.

    Args:
        device: type and name of the device, such as "cpu x86_64"; the number of CPU cores is added.
        seed: the seed of the run; None where it has none.
        packages: distributions whose versions are listed; one that is not installed is left out.
    """
    versions = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "commit": source_commit(),
        "python": platform.python_version(),
        "versions": versions,
        "device": f"{device}, {os.cpu_count()} cores",
        "seed": seed,
    }


def source_commit() -> str:
    """Commit of the source tree, 12 digits, with -dirty for local changes; "unknown" outside a git clone."""
    folder = Path(__file__).resolve().parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
