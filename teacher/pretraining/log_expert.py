"""Expert demonstrations from logs: the observations, actions and returns of recorded drivers.

An expert is an agent that a policy could control. At each step it takes the action that brings it closest to the next
poses of its log (closed loop, `JerkActions.toward`), so that observations, actions, rewards and events are those of a
policy with the same trajectory. All other agents replay the log, and so do experts whose drive is over (arrived,
crashed, or no longer tracked), so that no crashed or missing vehicle disturbs the others.
"""

from __future__ import annotations

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
from simulator.rollout import Step, rollout
from simulator.state import LOG, Events, WorldState
from simulator.step import step
from teacher.config import TeacherConfig
from teacher.observation.observe import Observation, observe
from teacher.reward import reward

_MODEL = JerkActions()


@struct.dataclass
class Demonstration:
    """The demonstrations of one world; leaves [steps, agents, ...]."""

    observation: Observation
    action: ArrayField  # i32, index of the jerk action
    target: ArrayField  # f32: discounted return from this step on
    acts: ArrayField  # bool: an expert acts; other entries have no meaning
    valued: ArrayField  # bool: the expert arrives later, so `target` is the complete return
    apart_m: ArrayField  # f32, m: distance to the log after the step


def demonstrate(
    state: WorldState, atlas: RoadAtlas, simulator: SimulatorConfig, config: TeacherConfig
) -> Demonstration:
    """The demonstrations of one recorded world, to the end of its log. ``simulator`` may differ from
    ``config.simulator`` in the number of agents.

    The return of a drive that arrives is the sum of discounted rewards up to the arrival. Other drives are not
    `valued`: one that the recording cuts off would have continued, and a crash of a recorded driver is an error of the
    annotation (boxes are accurate to decimetres, and maps lack driveways).
    """
    logged = state.scenario.log
    seen = logged.valid & (jnp.arange(logged.valid.shape[1]) <= logged.last_step)
    state, ahead = expert_start(state, seen, simulator.timestep_s)

    def policy_fn(state: WorldState, inputs: tuple[Array, Ahead, Array]) -> tuple[Array, tuple]:
        _, window, _ = inputs
        action = _MODEL.toward(motion_of(state), window, vehicle_of(state), simulator.timestep_s)
        return action, inputs

    def step_fn(
        state: WorldState, chosen: tuple[Array, tuple]
    ) -> tuple[WorldState, tuple[WorldState, Events]]:
        action, (seen_next, _, _) = chosen
        next_state, events = step(state, action, atlas, simulator)
        return _replay_finished(state, next_state, seen_next), (next_state, events)

    def record(taken: Step) -> tuple:
        action, (seen_next, _, logged_xy) = taken.action
        next_state, events = taken.outcome
        earned, _ = reward(taken.state, events, next_state, simulator, config.reward)
        acts = taken.state.active & seen_next
        apart = jnp.linalg.norm(next_state.position[:, :2] - logged_xy, axis=-1)
        observation = observe(taken.state, atlas, simulator, config.observation)
        return observation, action, earned, acts, acts & events.arrived, apart

    inputs = (seen[:, 1:].T, _by_step(ahead), jnp.swapaxes(logged.position, 0, 1)[1:, :, :2])
    _, kept = rollout(policy_fn, step_fn, state, inputs, record)
    observation, action, earned, acts, arrives, apart = kept
    return Demonstration(
        observation=observation,
        action=action,
        target=discounted(jnp.where(acts, earned, 0.0), config.ppo.discount),
        acts=acts,
        valued=acts & arrives.any(axis=0),
        apart_m=apart,
    )


def expert_start(
    state: WorldState, seen: Bool[Array, "agents steps"], timestep_s: float
) -> tuple[WorldState, Ahead]:
    """The initial state, and the next poses of every track at each step, fields [agents, steps, poses].

    Accelerations and steering of the experts are fitted to their first second, since those of a single short step
    are noisy.
    """
    logged = state.scenario.log
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
    """The poses ahead of all steps but the last, with the time axis first."""
    return jax.tree.map(lambda field: jnp.swapaxes(field, 0, 1)[:-1], ahead)


def _replay_finished(
    prev_state: WorldState, next_state: WorldState, tracked: Bool[Array, " agents"]
) -> WorldState:
    """``next_state``, in which agents that have ceased to be experts in this step are controlled by log replay."""
    active = next_state.active & tracked
    over = prev_state.active & ~active
    scenario = next_state.scenario
    return next_state.replace(
        active=active,
        present=jnp.where(over, tracked, next_state.present),
        scenario=scenario.replace(control=jnp.where(over, LOG, scenario.control)),
    )


def discounted(reward: Float[Array, "steps *batch"], discount: float) -> Float[Array, "steps *batch"]:
    """Returns G_t = r_t + discount G_(t+1), with 0 after the last step ("Scaling Is All You Need", eq. 1)."""

    def backwards(later: Array, now: Array) -> tuple[Array, Array]:
        total = now + discount * later
        return total, total

    return jax.lax.scan(backwards, jnp.zeros_like(reward[0]), reward, reverse=True)[1]
