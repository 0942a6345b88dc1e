"""Which part each agent plays, and the motion of those that no policy drives.

Roles are drawn once per episode (`Scenario.control`). Agents that are not driven by policy are present but neither
active nor spawned: they occupy space and are seen, and learning and metrics pass them over.
"""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Int, Key

from simulator.agents import idm, log_replay
from simulator.agents.baselines import IDM_BASELINE
from simulator.array_field import ArrayField
from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import ROLE_SHARES, SimulatorConfig
from simulator.conventions import CAR, TRUCK
from simulator.state import BLIND, BRAKER, IDM, NO_NOISE, PARKED, POLICY, WorldState


@struct.dataclass
class Roles:
    """The parts that a world's agents play."""

    control: ArrayField  # [agents] int32: index into CONTROL_NAMES
    noise: ArrayField  # [agents] int32: index into NOISE_NAMES
    crashed: ArrayField  # [agents] bool: PARKED on a lane at any angle instead of at the edge of the road


def draw_roles(key: Key[Array, ""], kind: Int[Array, " agents"], config: SimulatorConfig) -> Roles:
    """Roles of a town's agents by the shares of the configuration. The key is consumed.

    They are drawn independently per agent, so shares hold on average. Cyclists and pedestrians are not parked, nor
    stand on lanes: those that would be drive by policy.
    """
    policy = jnp.full(kind.shape, POLICY, jnp.int32)
    sound = jnp.full(kind.shape, NO_NOISE, jnp.int32)
    if config.mixed_share == 0:
        return Roles(policy, sound, jnp.zeros(kind.shape, bool))
    bounds = jnp.cumsum(jnp.array([getattr(config, name) for name in ROLE_SHARES]))
    role = jnp.searchsorted(bounds, jax.random.uniform(key, kind.shape), side="right")
    idm, parked, crashed, blind, braker = (role == number for number in range(len(ROLE_SHARES)))
    motor = (kind == CAR) | (kind == TRUCK)
    control = jnp.where(idm, IDM, jnp.where((parked | crashed) & motor, PARKED, policy))
    noise = jnp.where(blind, BLIND, jnp.where(braker, BRAKER, sound))
    return Roles(control, noise, crashed & motor)


def drive_others(
    before: WorldState, moved: WorldState, atlas: RoadAtlas, config: SimulatorConfig
) -> WorldState:
    """``moved`` with the motion of the agents that follow their log or the intelligent driver model, be it in place of
    a policy (`simulator.agents.baselines`); they see the world as it was ``before``."""
    if before.scenario.logged is not None:
        moved = log_replay.drive(before, moved, config)
    if before.scenario.has_idm or before.scenario.baseline == IDM_BASELINE:
        moved = idm.drive(before, moved, atlas, config)
    return moved
