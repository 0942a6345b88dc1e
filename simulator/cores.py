"""How many cores this process may use."""

import os


def core_count() -> int:
    """Cores of this process: a container may own fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
