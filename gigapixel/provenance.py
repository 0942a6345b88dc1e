"""Which code and which machine made a file: commit and versions, and writing JSON whole or not at all."""

from __future__ import annotations

import json
import os
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("jax", "flax", "optax", "torch", "torchvision", "timm", "lightning", "numpy", "numba", "py123d")


def commit() -> str:
    """The commit of the source tree ("-dirty" with local changes), or "unknown" outside a clone."""
    root = Path(__file__).resolve().parent.parent
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def package_versions() -> dict[str, str]:
    """Installed versions of the packages whose speed and numbers are ours."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def write_json(path: str | Path, content: Any) -> None:
    """Write JSON beside its place and rename, so that a reader never sees half a file."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        partial.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
