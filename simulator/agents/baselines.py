"""Baseline drivers without training, evaluated in place of a policy under the same rules.

A world with `Scenario.baseline` has the same agents, goals and traffic as one without. Only the motion of the agents
that count in metrics and are still driving (spawned and active) differs: the baseline moves them and their actions are
ignored. Their control stays POLICY, so collisions, off-road events, red lights and arrivals are detected as for a
policy's agents. All other agents move as they would without a baseline.

    constant_velocity  keeps its initial speed and heading
    idm                drives along its own route by the intelligent driver model (`simulator.agents.idm`)
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool

from simulator.config import SimulatorConfig
from simulator.state import WorldState

NO_BASELINE = ""
CONSTANT_VELOCITY = "constant_velocity"
IDM_BASELINE = "idm"
BASELINES = (CONSTANT_VELOCITY, IDM_BASELINE)


def with_baseline(state: WorldState, baseline: str) -> WorldState:
    """The same world or worlds with ``baseline`` in place of the policy; NO_BASELINE restores the policy.

    Raises ValueError for an unknown name.
    """
    if baseline not in (NO_BASELINE, *BASELINES):
        raise ValueError(f"baseline {baseline!r} is unknown; expected one of {', '.join(BASELINES)}")
    return state.replace(scenario=state.scenario.replace(baseline=baseline))


def driven_by(state: WorldState, baseline: str) -> Bool[Array, " agents"]:
    """Agents of one world that ``baseline`` moves in the next step; all False where the world has another or none."""
    if state.scenario.baseline != baseline:
        return jnp.zeros(state.active.shape, bool)
    return state.active & state.spawned


def keep_velocity(state: WorldState, next_state: WorldState, config: SimulatorConfig) -> WorldState:
    """``next_state`` in which the agents of CONSTANT_VELOCITY have gone straight on from ``state`` at its speed."""
    drives = driven_by(state, CONSTANT_VELOCITY)
    distance = state.speed * config.timestep_s
    heading = jnp.stack([jnp.cos(state.yaw), jnp.sin(state.yaw), jnp.zeros_like(distance)], axis=-1)

    def put(new: Array, old: Array) -> Array:
        return jnp.where(drives, new, old)

    zero = jnp.zeros_like(distance)
    return next_state.replace(
        position=jnp.where(
            drives[:, None], state.position + distance[:, None] * heading, next_state.position
        ),
        yaw=put(state.yaw, next_state.yaw),
        speed=put(state.speed, next_state.speed),
        acceleration=put(zero, next_state.acceleration),
        lateral_acceleration=put(zero, next_state.lateral_acceleration),
        steering=put(zero, next_state.steering),
    )
