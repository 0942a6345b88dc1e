"""Recorded drivers as experts: one world is driven as its log was, and what they saw, did and earned is kept.

An expert is an agent that a policy could drive. It is driven by the simulator itself, through the action that leads it
nearest to the log's next poses (closed loop, `JerkActions.toward`), so that observation, action, reward and events are
those that the same drive would give a policy. Everybody else replays the log. An expert whose drive is over (arrived,
crashed, or no longer seen by the recording) goes on as recorded: nobody meets a wreck or a gap that was never there.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float

from simulator.array_field import ArrayField
from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import SimulatorConfig
from simulator.dynamics.bicycle import Motion, Vehicle, motion_of, vehicle_of
from simulator.dynamics.jerk_actions import JerkActions
from simulator.dynamics.log_window import Ahead, LoggedTrack, logged_motion, windows
from simulator.state import LOG, WorldState
from simulator.step import step
from teacher.config import TeacherConfig
from teacher.observation.observe import observe
from teacher.reward import reward

_MODEL = JerkActions()


@struct.dataclass
class Demonstration:
    """What the experts of one world did; leaves [steps, agents, ...]."""

    observation: Any
    action: ArrayField  # i32, index into the action table
    target: ArrayField  # f32: discounted return from this step on
    acts: ArrayField  # bool: is an expert's; the rest means nothing
    valued: ArrayField  # bool: the drive arrives, so `target` is the whole return
    apart_m: ArrayField  # f32, m: from the log after the step


def demonstrate(
    state: WorldState, atlas: RoadAtlas, simulator: SimulatorConfig, config: TeacherConfig
) -> Demonstration:
    """Drives one recorded world to the end of its log; `simulator` may differ from the run's in the number of agents.

    A drive that ends in arrival is worth the discounted rewards up to there. Other drives are not `valued`: one that
    the recording cuts off would have gone on, and one that ends in a crash did not end so (boxes are annotated to
    decimetres, and maps leave out driveways).
    """
    logged = state.scenario.logged
    seen = logged.valid & (jnp.arange(logged.valid.shape[1]) <= logged.last_step)
    state, ahead = begin(state, seen, simulator.timestep_s)

    def drive(state: WorldState, now: tuple[Array, Ahead, Array]) -> tuple[WorldState, tuple]:
        following_seen, window, place = now
        action = _MODEL.toward(motion_of(state), window, vehicle_of(state), simulator.timestep_s)
        following, events = step(state, action, atlas, simulator)
        earned, _ = reward(state, events, following, simulator, config.reward)
        acts = state.active & following_seen
        arrives = acts & events.arrived
        apart = jnp.linalg.norm(following.position[:, :2] - place, axis=-1)
        kept = observe(state, atlas, simulator, config.observation), action, earned, acts, arrives, apart
        return _replay_the_rest(state, following, following_seen), kept

    steps = (seen[:, 1:].T, _by_step(ahead), jnp.swapaxes(logged.position, 0, 1)[1:, :, :2])
    _, (observation, action, earned, acts, arrives, apart) = jax.lax.scan(drive, state, steps)
    return Demonstration(
        observation=observation,
        action=action,
        target=discounted(jnp.where(acts, earned, 0.0), config.ppo.discount),
        acts=acts,
        valued=acts & arrives.any(axis=0),
        apart_m=apart,
    )


def begin(
    state: WorldState, seen: Bool[Array, "agents steps"], timestep_s: float
) -> tuple[WorldState, Ahead]:
    """The first state, and the next poses of every track at each step, fields [agents, steps, poses].

    Experts begin with the accelerations and the steering of their first second: those of one step are noise where steps
    are short.
    """
    logged = state.scenario.logged
    tracks = LoggedTrack(logged.position[..., 0], logged.position[..., 1], logged.yaw, logged.speed, seen)
    poses = max(1, round(_MODEL.horizon_s / timestep_s))

    def one(track: LoggedTrack, vehicle: Vehicle) -> tuple[Motion, Ahead]:
        ahead = windows(track, poses, timestep_s)
        motion = logged_motion(track, ahead, vehicle, timestep_s)
        return jax.tree.map(lambda field: field[0], motion), ahead

    first, ahead = jax.vmap(one)(tracks, vehicle_of(state))
    names = ("acceleration", "lateral_acceleration", "steering")
    begun = {name: jnp.where(state.active, getattr(first, name), getattr(state, name)) for name in names}
    return state.replace(**begun), ahead


def _by_step(ahead: Ahead) -> Ahead:
    """The windows of all steps but the last, time first."""
    return jax.tree.map(lambda field: jnp.swapaxes(field, 0, 1)[:-1], ahead)


def _replay_the_rest(before: WorldState, following: WorldState, seen: Bool[Array, " agents"]) -> WorldState:
    """``following``, in which whoever stopped being an expert in this step replays the log from now on."""
    goes_on = following.active & seen
    over = before.active & ~goes_on
    scenario = following.scenario
    return following.replace(
        active=goes_on,
        present=jnp.where(over, seen, following.present),
        scenario=scenario.replace(control=jnp.where(over, LOG, scenario.control)),
    )


def discounted(reward: Float[Array, "steps *batch"], discount: float) -> Float[Array, "steps *batch"]:
    """Returns G_t = r_t + discount G_(t+1), with nothing after the last step ("Scaling Is All You Need", eq. 1)."""

    def backwards(later: Array, now: Array) -> tuple[Array, Array]:
        total = now + discount * later
        return total, total

    return jax.lax.scan(backwards, jnp.zeros_like(reward[0]), reward, reverse=True)[1]
