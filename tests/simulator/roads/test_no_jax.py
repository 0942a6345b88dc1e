"""Maps and logs can be used without JAX."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGES = ("simulator/roads", "simulator/logs", "simulator/drawing", "simulator/conventions.py")

IMPORT_ALL = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(*sorted({"jax", "jaxlib", "flax", "torch"} & set(sys.modules)))
"""


def test_importing_every_module_of_roads_logs_and_drawing_loads_no_jax() -> None:
    files = [file for path in PACKAGES for file in sorted([ROOT / path, *(ROOT / path).rglob("*.py")])]
    modules = [
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for file in files
        if file.suffix == ".py"
    ]
    assert len(modules) > 40
    run = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *modules], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == []
