"""Number of CPU cores available to this process."""

import os


def core_count() -> int:
    """Cores in this process's affinity mask: a container may have fewer than the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
