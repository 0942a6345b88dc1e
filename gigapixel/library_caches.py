"""Folders in which libraries keep what they have compiled: where one cannot be written they do without it.

JAX would warn at every program, matplotlib in several lines at its first import. numba's folder, which is needed only
for drawing, is seen to by `renderer.backends.numba_cpu.compiled_cache`.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
from pathlib import Path

from gigapixel.run_folder.outputs import check_output_folder

_log = logging.getLogger(__name__)


def set_usable_caches() -> None:
    """Leave out the caches of JAX and matplotlib that cannot be written, with one line. Before either is imported."""
    faults = []
    compiled = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if compiled and "://" not in compiled and (fault := _fault(Path(compiled))):
        faults.append(f"JAX_COMPILATION_CACHE_DIR={fault}")
        del os.environ["JAX_COMPILATION_CACHE_DIR"]
    if fault := _fault(_matplotlib_folder()):
        faults.append(f"matplotlib's {fault}")
        os.environ["MPLCONFIGDIR"] = tempfile.mkdtemp(prefix="gigapixel-matplotlib-")
        atexit.register(shutil.rmtree, os.environ["MPLCONFIGDIR"], ignore_errors=True)
    if faults:
        _log.warning("working without caches that cannot be used: %s", ", ".join(faults))


def _fault(folder: Path) -> str | None:
    """The folder and why nothing can be written into it; None where something can."""
    try:
        check_output_folder("", folder)
    except (OSError, ValueError) as error:
        return str(error).strip()
    return None


def _matplotlib_folder() -> Path:
    chosen = os.environ.get("MPLCONFIGDIR") or os.environ.get("XDG_CACHE_HOME")
    return Path(chosen) if chosen else Path(os.path.expanduser("~")) / ".cache" / "matplotlib"
