"""Agents that follow their recorded tracks: where the log says, when the log says.

Recorded agents are blind: they pass through whatever the others do differently. Where a log ends before the episode
does, its last states hold, so that a fork of the world past the end still has its traffic.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from simulator.config import SimulatorConfig
from simulator.dynamics.bicycle import wrap_angle
from simulator.state import LOG, WorldState

MOST_MPS2 = 10.0
"""Accelerations told from one logged step to the next are clipped to this: annotations wander."""


def drive(before: WorldState, moved: WorldState, config: SimulatorConfig) -> WorldState:
    """``moved`` with its LOG agents at the next recorded step; they appear and disappear as recorded."""
    logged = before.scenario.logged
    follows = before.scenario.control == LOG
    now = jnp.minimum(before.step + 1, logged.last_step)
    yaw, speed = logged.yaw[:, now], logged.speed[:, now]
    seen = logged.valid[:, now]
    goes_on = seen & before.present & (before.step < logged.last_step)
    rate = jnp.where(goes_on, 1.0 / config.timestep_s, 0.0)
    push = jnp.clip((speed - before.speed) * rate, -MOST_MPS2, MOST_MPS2)
    aside = jnp.clip(speed * wrap_angle(yaw - before.yaw) * rate, -MOST_MPS2, MOST_MPS2)
    return moved.replace(
        position=jnp.where(follows[:, None], logged.position[:, now], moved.position),
        yaw=jnp.where(follows, yaw, moved.yaw),
        speed=jnp.where(follows, speed, moved.speed),
        acceleration=jnp.where(follows, push, moved.acceleration),
        lateral_acceleration=jnp.where(follows, aside, moved.lateral_acceleration),
        present=jnp.where(follows, seen, moved.present),
    )


def logged_lights(state: WorldState, stops: Int[Array, "*n"], first_stop: Int[Array, ""]) -> Int[Array, "*n"]:
    """Recorded light states at stop lines of the atlas; ``first_stop`` is the first one of the world's own map."""
    recorded = state.scenario.logged.light_state
    own = jnp.clip(stops - first_stop, 0, recorded.shape[0] - 1)
    now = jnp.minimum(state.step, state.scenario.logged.last_step)
    return jnp.where(stops >= 0, recorded[:, now][own], 0)


def distance_to_log(state: WorldState) -> Float[Array, " agents"]:
    """How far (m) each agent is from where the recording has it now; infinite where the recording does not see it."""
    logged = state.scenario.logged
    now = jnp.minimum(state.step, logged.last_step)
    apart = jnp.linalg.norm(state.position[:, :2] - logged.position[:, now, :2], axis=-1)
    return jnp.where(logged.valid[:, now], apart, jnp.inf)
