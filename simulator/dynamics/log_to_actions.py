"""Logged tracks as actions: the actions with which a simulated vehicle follows its log."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float

from simulator.array_field import ArrayField
from simulator.dynamics.action_model import ActionModel
from simulator.dynamics.bicycle import Motion, logged_vehicle
from simulator.dynamics.log_window import LoggedTrack, logged_motion, starts, windows
from simulator.dynamics.trajectory_actions import TrajectoryAction


@struct.dataclass
class TrackActions:
    """One logged vehicle as actions, and where they lead when they are driven."""

    action: Any  # leaves [time - 1, ...], of the model; undefined where not ``acts``
    acts: ArrayField  # [time - 1] bool: the log is valid before and after this step
    motion: Motion  # [time] simulated, before each action; undefined where the log is not valid

    @property
    def pose(self) -> Float[Array, "*agents time 3"]:
        """x, y (m, world, box centre) and yaw (rad) of the simulated vehicle."""
        return jnp.stack([self.motion.x, self.motion.y, self.motion.yaw], axis=-1)


def actions_of_track(
    model: ActionModel,
    positions: Float[Array, "time 3"],
    yaws: Float[Array, " time"],
    speeds: Float[Array, " time"],
    valid: Bool[Array, " time"],
    size: Float[Array, "3"],
    timestep_s: float,
) -> TrackActions:
    """The actions of one logged vehicle; batch with ``vmap``.

    ``positions`` are box centres (m, world), ``yaws`` rad, ``speeds`` m/s along the heading (negative in reverse),
    ``size`` length, width and height (m), ``timestep_s`` the spacing of the log. At every step the model is asked for
    the action that leads the *simulated* vehicle nearest to the log's next poses, so errors do not add up. Where a
    log begins, also after a gap, the simulated vehicle is put on it.
    """
    if positions.shape[0] < 2:
        raise ValueError(f"a logged track has {positions.shape[0]} steps and must have at least 2")
    vehicle = logged_vehicle(size)
    origin = positions[jnp.argmax(valid), :2]  # float32 resolves millimetres only near 0
    track = LoggedTrack(positions[:, 0] - origin[0], positions[:, 1] - origin[1], yaws, speeds, valid)
    ahead = windows(track, max(1, round(model.horizon_s / timestep_s)), timestep_s)
    log = logged_motion(track, ahead, vehicle, timestep_s)
    acts = valid & jnp.append(valid[1:], False)

    def step(motion: Motion, now: tuple) -> tuple[Motion, tuple]:
        logged, begins, window, moves = now
        motion = _choose(begins, logged, motion)
        action = model.toward(motion, window, vehicle, timestep_s)
        moved = _choose(moves, model.forward(motion, action, vehicle, timestep_s), motion)
        return moved, (action, motion)

    first = jax.tree.map(lambda field: field[0], log)
    _, (action, driven) = jax.lax.scan(step, first, (log, starts(valid), ahead, acts))
    driven = driven.replace(x=driven.x + origin[0], y=driven.y + origin[1])
    if isinstance(action, TrajectoryAction):
        action = action.replace(start=action.start.at[:, :2].add(origin))
    return TrackActions(jax.tree.map(lambda field: field[:-1], action), acts[:-1], driven)


def _choose(condition: Array, yes: Motion, no: Motion) -> Motion:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)
