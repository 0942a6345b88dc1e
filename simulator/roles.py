"""Which part each agent plays, and the motion of those that no policy drives.

Roles are drawn once per episode (`Scenario.control`). Agents that are not driven by policy are present but neither
active nor spawned: they occupy space and are seen, and learning and metrics pass them over.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key

from simulator import idm, replay
from simulator.atlas import RoadAtlas
from simulator.config import SimulatorConfig
from simulator.world import IDM, NO_NOISE, POLICY, WorldState


def draw_roles(
    key: Key[Array, ""], kind: Int[Array, " agents"], config: SimulatorConfig
) -> tuple[Int[Array, " agents"], Int[Array, " agents"]]:
    """Control and noise of a town's agents, [agents] int32 each, by the shares of the configuration.

    The key is consumed. Roles are drawn independently per agent, so shares hold on average.
    """
    control = jnp.full(kind.shape, POLICY, jnp.int32)
    noise = jnp.full(kind.shape, NO_NOISE, jnp.int32)
    if config.mixed_share == 0:
        return control, noise
    lot = jax.random.uniform(key, kind.shape)
    return jnp.where(lot < config.idm_share, IDM, control), noise


def drive_others(
    before: WorldState, moved: WorldState, atlas: RoadAtlas, config: SimulatorConfig
) -> WorldState:
    """``moved`` with the motion of the agents that no policy drives; they see the world as it was ``before``."""
    if before.scenario.logged is not None:
        moved = replay.drive(before, moved, config)
    if before.scenario.has_idm:
        moved = idm.drive(before, moved, atlas, config)
    return moved
