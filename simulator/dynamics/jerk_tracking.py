"""Follow a planned trajectory with the 12 jerk actions: try each one on, and take the best.

A planner answers twice a second; the simulator wants an action every step. For every agent and every action this
applies the action for one step, then holds the accelerations it leads to (no jerk), and compares where that leads
with where the plan is at a few moments ahead. It is model predictive control with a one-step control horizon: no
gradient, no gain to tune per vehicle, and the same limits, clipping and sign changes as the simulator itself.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from simulator.config import SimulatorConfig
from simulator.conventions import NUM_POSES, POSE_SPACING_S
from simulator.dynamics import bicycle
from simulator.dynamics.bicycle import Motion, Vehicle, wrap_angle
from simulator.state import WorldState

LOOKAHEADS_S = (0.5, 1.0)
"""Moments ahead at which prediction and plan are compared."""
HOLD_STEP_S = 0.25
"""Step of the prediction once the action is over; holding an acceleration needs no finer one."""

_ALONG, _ACROSS, _HEADING, _SPEED = 1.0, 1.0, 2.0, 0.2
"""Weights of the squared errors: metres along and across the plan, radians x metres, m/s."""
_EFFORT = 5e-3
"""Weight of the squared accelerations that an action leads to: between actions that follow equally well the one
that lets go of brake and wheel wins. A standing agent would else keep its brake on, and need many steps to let go."""


def track(
    state: WorldState,
    plan_world: Float[Array, "agents poses 3"],
    time_since_plan_s: Float[Array, ""] | float,
    config: SimulatorConfig,
) -> Int[Array, " agents"]:
    """Actions that follow the plans of one world.

    ``plan_world`` holds rear-axle poses (x, y m, yaw rad) in the world frame at 0.5, 1.0 ... 4.0 s after the plan
    was made, which was ``time_since_plan_s`` ago.
    """
    motion, vehicle = bicycle.motion_of(state), bicycle.vehicle_of(state)
    lookaheads = jnp.asarray(LOOKAHEADS_S)
    wanted, wanted_speed = pose_at(plan_world, time_since_plan_s + lookaheads)
    jerks = jnp.asarray(bicycle.ACTIONS)

    def cost(jerk: Array) -> Array:
        after = bicycle.advance(
            motion, jnp.broadcast_to(jerk, (*motion.x.shape, 2)), vehicle, config.timestep_s
        )
        path = _coast(after, vehicle, config.timestep_s)
        effort = after.acceleration**2 + after.lateral_acceleration**2
        return _misfit(path, vehicle, wanted, wanted_speed) + _EFFORT * effort

    costs = jax.vmap(cost)(jerks)  # [actions, agents]
    return jnp.argmin(costs, axis=0).astype(jnp.int32)


def pose_at(
    plan: Float[Array, "agents poses 3"], time_s: Float[Array, " moments"]
) -> tuple[Float[Array, "agents moments 3"], Float[Array, "agents moments"]]:
    """Poses of a plan between its own, and the speed along it (m/s); times beyond its ends use the nearest piece."""
    place = time_s / POSE_SPACING_S - 1.0  # pose 0 is at 0.5 s
    below = jnp.clip(jnp.floor(place).astype(jnp.int32), 0, NUM_POSES - 2)
    share = (jnp.minimum(place, NUM_POSES - 1.0) - below)[None, :, None]
    first, second = plan[:, below], plan[:, below + 1]
    move = second - first
    move = move.at[..., 2].set(wrap_angle(move[..., 2]))
    forward = move[..., 0] * jnp.cos(first[..., 2]) + move[..., 1] * jnp.sin(first[..., 2])
    return first + share * move, forward / POSE_SPACING_S


def _coast(now: Motion, vehicle: Vehicle, time_s: float) -> Motion:
    """Motion at every lookahead, fields [moments, agents], when no jerk follows; `now` is `time_s` ahead already."""
    coast = jnp.zeros((*now.x.shape, 2))
    path = []
    for moment in LOOKAHEADS_S:
        while moment - time_s > 1e-6:
            step_s = min(HOLD_STEP_S, moment - time_s)
            now = bicycle.advance(now, coast, vehicle, step_s)
            time_s += step_s
        path.append(now)
    return jax.tree.map(lambda *moments: jnp.stack(moments), *path)


def _misfit(path: Motion, vehicle: Vehicle, wanted: Array, wanted_speed: Array) -> Array:
    """Summed squared errors of a prediction [moments, agents] against the plan [agents, moments, ...]."""
    pose = jnp.moveaxis(wanted, 0, 1)  # [moments, agents, 3]
    offset = bicycle.rear_pose(path, vehicle) - pose
    dx, dy = offset[..., 0], offset[..., 1]
    cos, sin = jnp.cos(pose[..., 2]), jnp.sin(pose[..., 2])
    along, across = cos * dx + sin * dy, cos * dy - sin * dx
    heading = wrap_angle(offset[..., 2])
    speed = path.speed - wanted_speed.T
    error = _ALONG * along**2 + _ACROSS * across**2 + _HEADING * heading**2 + _SPEED * speed**2
    return error.sum(axis=0)
