"""Sharded training: groups of worlds that are driven, filtered and cut into minibatches separately and share gradients.

The number of shards belongs to a run; the number of devices belongs to the machine. Every device holds the same
number of shards, one after the other along the `worlds` axis, and random numbers are drawn per shard: the same run on
one device or on four computes the same numbers, up to the order of floating-point sums. Hosts started together with
`jax.distributed` form one such machine.

Mathematics inside a shard calls the methods of `Shards` where it needs numbers of all shards; with one shard they do
nothing, so it reads and tests as plain code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

DEVICES, GROUPS = "devices", "groups"
"""Names of the two axes that shards lie along: across devices, and side by side on one."""


@dataclass(frozen=True)
class Shards:
    """Sums, means and extremes over all shards, seen from inside one of them.

    Attributes:
        count: number of shards.
        axes: names of the mapped axes that they lie along; none where there is one shard.
    """

    count: int = 1
    axes: tuple[str, ...] = ()

    def sum(self, tree: Any) -> Any:
        """Sum over shards of every leaf."""
        return jax.lax.psum(tree, self.axes) if self.axes else tree

    def mean(self, tree: Any) -> Any:
        """Mean over shards of every leaf."""
        return jax.lax.pmean(tree, self.axes) if self.axes else tree

    def max(self, tree: Any) -> Any:
        """Largest over shards of every leaf."""
        return jax.lax.pmax(tree, self.axes) if self.axes else tree

    def all(self, tree: Any) -> Any:
        """Whether every leaf (bool) is True in all shards."""
        return jax.tree.map(lambda leaf: self.sum((~leaf).astype(jnp.int32)) == 0, tree)

    def own(self, key: jax.Array) -> jax.Array:
        """This shard's own key, made from one that all shards hold; the key is consumed."""
        return jax.random.fold_in(key, jax.lax.axis_index(self.axes)) if self.axes else key


ONE_SHARD = Shards()
"""One shard: collectives do nothing."""


def training_mesh(num_shards: int) -> Mesh:
    """A mesh of as many devices as can hold equally many of the shards.

    Raises ValueError where the shards cannot be divided evenly among the devices of several processes.
    """
    devices = jax.devices()
    if jax.process_count() > 1 and num_shards % len(devices):
        raise ValueError(
            f"num_shards={num_shards} must be a multiple of the {len(devices)} devices of all "
            f"{jax.process_count()} processes; try {len(devices)}"
        )
    used = max(count for count in range(1, len(devices) + 1) if num_shards % count == 0)
    return jax.make_mesh((used,), (DEVICES,), (jax.sharding.AxisType.Auto,), devices=devices[:used])


def shard(
    function: Callable[[Shards, Any, Any], tuple[Any, Any]], layout: Any, num_shards: int, mesh: Mesh
) -> Callable[[Any, Any], tuple[Any, Any]]:
    """(state, data) -> (state, metrics) over all shards, from a function of one shard's (shards, state, data).

    `layout` is a prefix of the state with True where leaves have a leading `worlds` axis, which is divided among
    the shards, and False where all shards hold the same; the latter, and the metrics, must be equal in all shards.
    """
    local = num_shards // mesh.size
    axes = tuple(name for name, size in ((DEVICES, mesh.size), (GROUPS, local)) if size > 1)
    shards = Shards(num_shards, axes)

    def of_device(state: Any, data: Any) -> tuple[Any, Any]:
        if local == 1:
            return function(shards, state, data)
        along = jax.tree.map(lambda dealt: 0 if dealt else None, layout)
        every = jax.vmap(
            lambda state, data: function(shards, state, data), (along, None), (along, None), axis_name=GROUPS
        )
        state, metrics = every(
            _regroup(state, layout, lambda leaf: leaf.reshape(local, -1, *leaf.shape[1:])), data
        )
        return _regroup(state, layout, lambda leaf: leaf.reshape(-1, *leaf.shape[2:])), metrics

    specs = jax.tree.map(lambda dealt: Spec(DEVICES) if dealt else Spec(), layout)
    return jax.shard_map(
        of_device, mesh=mesh, in_specs=(specs, Spec()), out_specs=(specs, Spec()), check_vma=False
    )


def _regroup(state: Any, layout: Any, reshape: Callable[[jax.Array], jax.Array]) -> Any:
    """The state with its leaves that are divided among shards reshaped."""
    return jax.tree.map(lambda dealt, part: jax.tree.map(reshape, part) if dealt else part, layout, state)


def shardings(layout: Any, mesh: Mesh) -> Any:
    """Shardings of the leaves of a state (a prefix of it): divided over the mesh, or replicated on each device."""
    return jax.tree.map(lambda dealt: NamedSharding(mesh, Spec(DEVICES) if dealt else Spec()), layout)


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of arrays that are replicated on each device of the mesh."""
    return NamedSharding(mesh, Spec())
