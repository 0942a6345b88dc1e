"""Which controller each agent has, and the motion of the agents that no policy drives.

Controllers are assigned once per episode (`Scenario.control`). Agents that are not driven by a policy are present but
neither active nor spawned: they occupy space and are observed, but training and metrics leave them out.
"""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Int, Key

from simulator.agents import idm, log_replay
from simulator.agents.baselines import IDM_BASELINE
from simulator.array_field import ArrayField
from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import CONTROLLER_SHARES, SimulatorConfig
from simulator.conventions import CAR, TRUCK
from simulator.state import BLIND, IDM, NO_FAULT, PARKED, POLICY, SUDDEN_BRAKING, WorldState


@struct.dataclass
class ControllerAssignment:
    """Controllers and faults of a world's agents."""

    control: ArrayField  # [agents] int32: index into CONTROL_NAMES
    fault: ArrayField  # [agents] int32: index into FAULT_NAMES
    crashed: ArrayField  # [agents] bool: PARKED on a lane at any angle instead of at the edge of the road


def assign_controllers(
    key: Key[Array, ""], kind: Int[Array, " agents"], config: SimulatorConfig
) -> ControllerAssignment:
    """Controllers of spawned agents, drawn with the shares of the configuration. The key is consumed.

    Draws are independent per agent, so shares hold on average. Only cars and trucks can be parked or crashed; a cyclist
    or pedestrian that draws one of these is driven by policy.
    """
    policy = jnp.full(kind.shape, POLICY, jnp.int32)
    none = jnp.full(kind.shape, NO_FAULT, jnp.int32)
    if config.mixed_share == 0:
        return ControllerAssignment(policy, none, jnp.zeros(kind.shape, bool))
    bounds = jnp.cumsum(jnp.array([getattr(config, name) for name in CONTROLLER_SHARES]))
    drawn = jnp.searchsorted(bounds, jax.random.uniform(key, kind.shape), side="right")
    idm, parked, crashed, blind, braking = (drawn == number for number in range(len(CONTROLLER_SHARES)))
    motor = (kind == CAR) | (kind == TRUCK)
    control = jnp.where(idm, IDM, jnp.where((parked | crashed) & motor, PARKED, policy))
    fault = jnp.where(blind, BLIND, jnp.where(braking, SUDDEN_BRAKING, none))
    return ControllerAssignment(control, fault, crashed & motor)


def all_by_policy(controllers: ControllerAssignment, which: Bool[Array, " agents"]) -> ControllerAssignment:
    """The controllers, of which those of the agents ``which`` are a policy without faults."""
    return ControllerAssignment(
        control=jnp.where(which, POLICY, controllers.control),
        fault=jnp.where(which, NO_FAULT, controllers.fault),
        crashed=controllers.crashed & ~which,
    )


def advance_other_controllers(
    state: WorldState, next_state: WorldState, atlas: RoadAtlas, config: SimulatorConfig
) -> WorldState:
    """``next_state`` in which the agents that follow their log or the intelligent driver model have moved too, also
    those that the model moves as a baseline (`simulator.agents.baselines`). They react to ``state``."""
    if state.scenario.log is not None:
        next_state = log_replay.advance(state, next_state, config)
    if state.scenario.has_idm or state.scenario.baseline == IDM_BASELINE:
        next_state = idm.advance(state, next_state, atlas, config)
    return next_state
