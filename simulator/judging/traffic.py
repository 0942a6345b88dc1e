"""What the agents of batched worlds did over some steps, kept so that one of them can be replaced afterwards."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from simulator.array_field import ArrayField
from simulator.metrics.at_fault import Bodies
from simulator.rollout import Step
from simulator.state import WorldState


@struct.dataclass
class Traffic:
    """The agents of batched worlds after each of some steps, or at one instant or of one world: without that axis."""

    position: ArrayField  # [steps, worlds, agents, 3] m, world: centre of the box, at ground height
    yaw: ArrayField  # [steps, worlds, agents] rad
    speed: ArrayField  # [steps, worlds, agents] m/s, 0 after a crash
    present: ArrayField  # [steps, worlds, agents] bool: occupies space

    def around(self, world: Int[Array, ""], agent: Int[Array, ""]) -> Traffic:
        """The agents of one world, leaves [steps, agents, ...], of whom ``agent`` is not present."""
        own: Traffic = jax.tree.map(lambda leaf: leaf[:, world], self)
        return own.replace(present=own.present & (jnp.arange(own.present.shape[1]) != agent))

    def bodies(self, size: Float[Array, "agents 3"]) -> Bodies:
        """The agents of one world at one instant as bodies of ``size`` m."""
        return Bodies(self.position[:, :2], self.yaw, self.speed, size)


def traffic_of(state: WorldState) -> Traffic:
    """The traffic of worlds at one instant."""
    return Traffic(state.position, state.yaw, state.speed, state.present)


def record_traffic(step: Step) -> Traffic:
    """The traffic after a step; a recorder for `simulator.rollout.rollout`."""
    return traffic_of(step.next_state)
