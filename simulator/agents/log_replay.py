"""Agents that follow their logged track: where the log has them, when the log has them.

They do not react: they pass through agents that drive differently from the log. Where a log ends before the episode
does, its last states hold, so that a fork of the world beyond the end still has its traffic.
"""

import jax.numpy as jnp

from simulator.angles import wrap_angle
from simulator.config import SimulatorConfig
from simulator.state import LOG, WorldState

MAX_REPLAY_ACCELERATION_MPS2 = 10.0
"""Accelerations estimated from two successive logged states are clipped to this: annotations are noisy."""


def advance(state: WorldState, next_state: WorldState, config: SimulatorConfig) -> WorldState:
    """``next_state`` with its LOG agents in their next logged state; they appear and disappear as logged."""
    log = state.scenario.log
    follows = state.scenario.control == LOG
    now = jnp.minimum(state.step + 1, log.last_step)
    yaw, speed = log.yaw[:, now], log.speed[:, now]
    valid = log.valid[:, now]
    goes_on = valid & state.present & (state.step < log.last_step)
    rate = jnp.where(goes_on, 1.0 / config.timestep_s, 0.0)
    limit = MAX_REPLAY_ACCELERATION_MPS2
    acceleration = jnp.clip((speed - state.speed) * rate, -limit, limit)
    lateral_acceleration = jnp.clip(speed * wrap_angle(yaw - state.yaw) * rate, -limit, limit)
    return next_state.replace(
        position=jnp.where(follows[:, None], log.position[:, now], next_state.position),
        yaw=jnp.where(follows, yaw, next_state.yaw),
        speed=jnp.where(follows, speed, next_state.speed),
        acceleration=jnp.where(follows, acceleration, next_state.acceleration),
        lateral_acceleration=jnp.where(follows, lateral_acceleration, next_state.lateral_acceleration),
        present=jnp.where(follows, valid, next_state.present),
    )
