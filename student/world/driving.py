"""What a `PixelWorld` compiles: new episodes, inputs of the renderer, and steps under teacher, plans and actions."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import SimulatorConfig
from simulator.dynamics.action_model import StepModel
from simulator.dynamics.bicycle import rear_poses
from simulator.dynamics.jerk_actions import JERK_ACTIONS
from simulator.dynamics.mixed_actions import MixedAction
from simulator.dynamics.trajectory_actions import TRAJECTORY_ACTIONS, TrajectoryAction
from simulator.reset.mixed_reset import LogInitialStates, reset_mixed
from simulator.rollout import Step, driving, has_ended, rollout, step_fn_of
from simulator.state import WorldState
from student.bridge.mixed_driving import JERKS_OR_TRAJECTORIES
from student.bridge.scene import RenderInputs, render_inputs
from teacher.observation.observe import observe_worlds
from teacher.policy import Policy
from teacher.reward import default_traits, reward


@partial(jax.jit, static_argnames="rules")
def reset_world(
    key: Array,
    atlas: RoadAtlas,
    maps: Int[Array, " 2"],
    careful_share: Array | float,
    rules: SimulatorConfig,
    starts: LogInitialStates | None,
) -> WorldState:
    """A new episode on a random map of maps[0] <= map < maps[1]; with probability `careful_share` all its agents have
    the default conditioning."""
    world_key, share_key, map_key = jax.random.split(key, 3)
    map_id = jax.random.randint(map_key, (), maps[0], maps[1])
    world = reset_mixed(world_key, atlas, map_id, rules, starts)
    default = jax.random.bernoulli(share_key, careful_share)
    traits = jnp.where(default, default_traits(), world.scenario.traits)
    return replace(world, scenario=replace(world.scenario, traits=traits))


@jax.jit
def replace_world(worlds: WorldState, world: WorldState, index: Array) -> WorldState:
    """`worlds` with the one at `index` replaced by `world`."""
    return jax.tree.map(lambda all_leaves, leaf: all_leaves.at[index].set(leaf), worlds, world)


def committed(tree: Any) -> Any:
    """The same arrays, committed to their device: arrays from DLPack are, and other inputs would compile again."""
    return jax.device_put(tree, jax.devices()[0])


@partial(jax.jit, static_argnames="rules")
def inputs_and_drivers(
    state: WorldState, stops: Int[Array, "maps lights"], atlas: RoadAtlas, rules: SimulatorConfig
) -> tuple[RenderInputs, Bool[Array, "worlds agents"]]:
    """Inputs of the renderer, and the mask of agents that drive."""
    return render_inputs(state, stops, atlas, rules), driving(state)


@partial(jax.jit, static_argnames=("rules", "num_steps", "teacher_drives", "greedy", "rewarded"))
def drive(
    key: Array,
    state: WorldState,
    by_teacher: Bool[Array, "worlds agents"],
    plan: Float[Array, "worlds agents poses 3"] | None,
    action: Int[Array, "worlds agents"] | None,
    teacher: Policy,
    atlas: RoadAtlas,
    rules: SimulatorConfig,
    num_steps: int,
    teacher_drives: bool,
    greedy: bool,
    rewarded: bool = False,
) -> tuple[WorldState, Int[Array, ""], tuple[Array, Array] | None]:
    """Drives all worlds for `num_steps` steps; returns the last state, the agent-steps taken and, if `rewarded`, the
    teacher's reward of every agent and whether it crashed, left the road or arrived, [steps, worlds, agents].

    Agents act by the teacher where `by_teacher`; the others follow their plan (rear-axle poses seen from where they
    are now, `simulator.dynamics.trajectory_actions`) or, without plans, take their jerk action. `teacher_drives` says
    at compile time whether the teacher is evaluated at all. Worlds whose log has ended do not change.
    """
    start = rear_poses(state)

    def policy_fn(worlds: WorldState, inputs: tuple[Array, Array]) -> Any:
        key, index = inputs
        followed = None
        if plan is not None:
            age_s = jnp.broadcast_to(index.astype(jnp.float32) * rules.timestep_s, by_teacher.shape)
            followed = TrajectoryAction(plan, start, age_s)
        if not teacher_drives:
            return action if followed is None else followed
        observation = observe_worlds(worlds, atlas, rules, teacher.observation)
        jerks = teacher.act(observation, key, greedy)
        if followed is None:
            return jerks if action is None else jnp.where(by_teacher, jerks, action)
        return MixedAction(jnp.where(by_teacher, 0, 1), (jerks, followed))

    def record(step: Step) -> tuple[Int[Array, ""], tuple[Array, Array] | None]:
        acts = driving(step.state).sum()
        if not rewarded:
            return acts, None
        value_of = partial(reward, simulator=rules, config=teacher.reward)
        total, _ = jax.vmap(value_of)(step.state, step.outcome, step.next_state)
        ended = step.outcome.collision | step.outcome.offroad | step.outcome.arrived
        return acts, (total, ended)

    model: StepModel = JERK_ACTIONS
    if plan is not None:
        model = JERKS_OR_TRAJECTORIES if teacher_drives else TRAJECTORY_ACTIONS
    step_fn = step_fn_of(atlas, rules, model, stop=None if state.scenario.log is None else has_ended)
    inputs = (jax.random.split(key, num_steps), jnp.arange(num_steps))
    state, (acts, rewards) = rollout(policy_fn, step_fn, state, inputs, record)
    return state, acts.sum(), rewards
