"""Several processes, usually one per machine, that train one policy together through `jax.distributed`.

All run the same program on the same configuration; the first one writes the run folder, which the others must be able
to read when they resume. With one process these functions do nothing.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils


def initialize(coordinator: str | None, num_processes: int | None, process_id: int | None) -> None:
    """Join the other processes; to be called before anything else asks for a device.

    `coordinator` is the first process's HOST:PORT, or `auto` where the launcher (Slurm, a cloud's TPU pods, Open MPI)
    tells. Raises ValueError for incomplete arguments.
    """
    if coordinator is None:
        if num_processes is not None or process_id is not None:
            raise ValueError(
                "--num_processes and --process_id need --coordinator HOST:PORT, the address of process 0"
            )
        return
    if coordinator == "auto":
        jax.distributed.initialize()
        return
    if num_processes is None or process_id is None or not 0 <= process_id < num_processes:
        raise ValueError(
            f"--coordinator {coordinator} needs --num_processes N and --process_id from 0 to N - 1; "
            f"found {num_processes} and {process_id}"
        )
    if ":" not in coordinator:
        raise ValueError(f"--coordinator {coordinator!r} must be HOST:PORT, or auto")
    jax.distributed.initialize(coordinator, num_processes, process_id)


def is_first() -> bool:
    """Whether this process writes the run folder."""
    return jax.process_index() == 0


def any_of(flag: bool) -> bool:
    """Whether the flag is set in any process; all processes wait for each other and get the same answer."""
    if jax.process_count() == 1:
        return flag
    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))


def barrier(place: str) -> None:
    """Wait until all processes have called this with the same name."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(place)


def is_key(leaf: Any) -> bool:
    """Whether a leaf is a typed PRNG key."""
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def distribute(tree: Any, shardings: Any) -> Any:
    """A tree that every process holds completely, as global arrays with `shardings` (a prefix of the tree)."""
    raw = jax.tree.map(lambda leaf: np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf), tree)

    def wrap(raw: Any) -> Any:
        return jax.tree.map(
            lambda like, value: jax.random.wrap_key_data(value) if is_key(like) else value, tree, raw
        )

    return jax.jit(wrap, out_shardings=shardings)(raw)


def gather(tree: Any, replicated: jax.sharding.NamedSharding) -> Any:
    """Global arrays with the sharding `replicated`, so that every process can read all of them."""
    if jax.process_count() == 1:
        return tree
    return jax.jit(lambda same: same, out_shardings=replicated)(tree)
