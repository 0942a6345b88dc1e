"""Drivers that need no training. They stand in for a policy, and `step` judges their agents as it judges a policy's.

A world with `Scenario.baseline` has the same agents, goals and traffic as one without. What changes is the motion of
the agents that count in metrics and still drive (spawned and active): the baseline moves them, and whatever actions
they are given are not looked at. Their control stays POLICY, so that they crash, depart, run lights and arrive by the
very rules of a policy's agents, and stop where these would stop. Everybody else drives as before.

    constant_velocity  keeps the speed and the heading it starts with, wherever that leads
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
    """The same world or worlds, whose counted agents ``baseline`` drives; NO_BASELINE gives them back to a policy.

    Raises ValueError for an unknown name.
    """
    if baseline not in (NO_BASELINE, *BASELINES):
        raise ValueError(f"baseline {baseline!r} is unknown; expected one of {', '.join(BASELINES)}")
    return state.replace(scenario=state.scenario.replace(baseline=baseline))


def driven_by(state: WorldState, baseline: str) -> Bool[Array, " agents"]:
    """Agents of one world that ``baseline`` moves in the next step; nobody where the world has another one or none."""
    if state.scenario.baseline != baseline:
        return jnp.zeros(state.active.shape, bool)
    return state.active & state.spawned


def keep_velocity(before: WorldState, moved: WorldState, config: SimulatorConfig) -> WorldState:
    """``moved``, in which the agents of CONSTANT_VELOCITY went straight on at the speed they had ``before``."""
    drives = driven_by(before, CONSTANT_VELOCITY)
    way = before.speed * config.timestep_s
    ahead = jnp.stack([jnp.cos(before.yaw), jnp.sin(before.yaw), jnp.zeros_like(way)], axis=-1)

    def put(new: Array, old: Array) -> Array:
        return jnp.where(drives, new, old)

    zero = jnp.zeros_like(way)
    return moved.replace(
        position=jnp.where(drives[:, None], before.position + way[:, None] * ahead, moved.position),
        yaw=put(before.yaw, moved.yaw),
        speed=put(before.speed, moved.speed),
        acceleration=put(zero, moved.acceleration),
        lateral_acceleration=put(zero, moved.lateral_acceleration),
        steering=put(zero, moved.steering),
    )
