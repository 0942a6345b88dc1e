"""One PPO update as one jitted program: reset finished worlds, roll out, estimate advantages, filter, learn.

Nothing inside waits for the host. The complete state of a run, PRNG key included, is `TrainState`, so a
run is a pure function of its first state: N updates + save + load + N updates equal 2N updates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import Mesh, NamedSharding

from simulator.array_field import ArrayField
from teacher.network.actor_critic import TeacherNetwork, init_params
from teacher.ppo.environment import Environment
from teacher.ppo.finite_checks import all_finite
from teacher.ppo.learner import Learner, make_optimiser
from teacher.ppo.losses import PPOConfig, learning_rate_factor, update_scale
from teacher.ppo.multihost import distribute
from teacher.ppo.rollout import Metrics, collect_rollout, reset_finished
from teacher.ppo.sharding import Shards, replicated, shard, shardings, training_mesh

MEGA = 1 << 20


@struct.dataclass
class TrainState:
    """Everything a run carries from one update to the next."""

    worlds: Any  # environment state, leaves [worlds, ...]
    params: Any  # weights of actor and critic
    acting: Any  # older weights that act, where actors are synced_actor now and then; else None
    optimiser: Any  # AdamW's moments and step count
    advantage_scale: ArrayField  # [] f32: moving average of max |advantage|, 0 before the first batch
    key: ArrayField  # typed PRNG key
    update: ArrayField  # [] i32: updates made
    experience: ArrayField  # [2] i32: agent steps as (multiples of 2^20, remainder): int32 ends at 2 billion


_SHARDED: dict[str, Any] = {field.name: field.name == "worlds" for field in fields(TrainState)}
LAYOUT = TrainState(**_SHARDED)
"""True: leaves have a leading `worlds` axis, which is divided among the shards; False: every shard holds all."""


def agent_steps(experience: Any) -> int:
    """Agent steps gathered so far, from `TrainState.experience`, as a Python integer."""
    mega, remainder = (int(part) for part in experience)
    return mega * MEGA + remainder


def init_state(
    environment: Environment,
    network: TeacherNetwork,
    config: PPOConfig,
    data: Any,
    seed: int,
    mesh: Mesh | None = None,
) -> TrainState:
    """The first state of a run, a function of the seed alone; sharded over `mesh` (default: one device).

    Its worlds are blank: the first update resets them all, so that resetting is compiled once, not twice.
    """
    reset_keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), environment.num_worlds))
    worlds = jax.eval_shape(environment.reset, data, reset_keys)
    observation = jax.eval_shape(environment.observe, data, worlds)

    def build(seed: jax.Array) -> TrainState:
        key, params_key = jax.random.split(jax.random.key(seed))
        params = init_params(network, observation, params_key)
        return TrainState(
            worlds=jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), worlds),
            params=params,
            acting=params if config.actor_refresh > 1 else None,
            optimiser=make_optimiser(config, config.learning_rate).init(params),
            advantage_scale=jnp.zeros((), jnp.float32),
            key=key,
            update=jnp.zeros((), jnp.int32),
            experience=jnp.zeros((2,), jnp.int32),
        )

    places = state_shardings(config, mesh or training_mesh(1))
    return jax.jit(build, out_shardings=places)(np.uint32(seed))


def with_weights(state: TrainState, params: Any, place: NamedSharding) -> TrainState:
    """The state with other weights, the actors' own copy included where there is one."""
    params = distribute(params, place)
    return state.replace(params=params, acting=None if state.acting is None else params)


def state_shardings(config: PPOConfig, mesh: Mesh) -> TrainState:
    """Where the parts of a state lie, as `jit` takes it: a prefix of the state without branches that it lacks."""
    places = shardings(LAYOUT, mesh)
    return places if config.actor_refresh > 1 else places.replace(acting=None)


def make_update(
    environment: Environment,
    network: TeacherNetwork,
    config: PPOConfig,
    total_agent_steps: int,
    num_shards: int = 1,
    mesh: Mesh | None = None,
) -> Callable[[TrainState, Any], tuple[TrainState, Metrics]]:
    """The jitted update (state, data) -> (state, metrics). The state given in is donated: its buffers are reused.

    `metrics["finite"]` tells by name which tensors held finite numbers only; see `teacher.ppo.finite_checks`.
    """
    samples = config.rollout_steps * environment.num_worlds * environment.num_agents
    config.kept_samples(samples, num_shards)  # refuse early

    def one_shard(shards: Shards, state: TrainState, data: Any) -> tuple[TrainState, Metrics]:
        return update(environment, network, config, float(total_agent_steps), shards, state, data)

    mesh = mesh or training_mesh(num_shards)
    dealt = shard(one_shard, LAYOUT, num_shards, mesh)
    return jax.jit(dealt, donate_argnums=0, out_shardings=(state_shardings(config, mesh), replicated(mesh)))


def update(
    environment: Environment,
    network: TeacherNetwork,
    config: PPOConfig,
    total_agent_steps: float,
    shards: Shards,
    state: TrainState,
    data: Any,
) -> tuple[TrainState, Metrics]:
    """Collect one rollout with the acting policy and learn from it, as one of the `shards`."""
    key, reset_key, rollout_key, learn_key = jax.random.split(state.key, 4)
    acting = state.params if state.acting is None else state.acting
    worlds, episode_metrics = reset_finished(
        environment, data, state.worlds, state.update == 0, shards.own(reset_key), shards
    )
    fixed = environment.split(worlds)[0]
    keep_observations = not config.recompute_observations
    worlds, trajectories, sums, finite = collect_rollout(
        environment,
        network,
        config.rollout_steps,
        data,
        acting,
        worlds,
        shards.own(rollout_key),
        keep_observations,
    )
    learner = Learner(environment, network, config, shards)
    critic = state.params if config.v_trace else acting
    last = environment.observe(data, worlds)
    experience = learner.estimate(data, critic, trajectories, fixed, last)
    finite |= all_finite("advantage", {"advantage": experience.advantage, "target": experience.target})
    valid = trajectories.valid
    scale = update_scale(state.advantage_scale, experience.advantage, valid, config.filter_decay, shards)
    progress = jnp.dot(state.experience.astype(jnp.float32), jnp.asarray([MEGA, 1.0])) / total_agent_steps
    learning_rate = config.learning_rate * learning_rate_factor(config.schedule, progress)
    params, optimiser, losses, finite_learning = learner.learn(
        data, state.params, state.optimiser, experience, scale, learning_rate, shards.own(learn_key)
    )
    gathered = shards.sum(jnp.sum(valid.astype(jnp.int32)))
    logs = {name: value / jnp.maximum(gathered, 1) for name, value in shards.sum(sums).items()}
    metrics = {
        **episode_metrics,
        **logs,
        **losses,
        "agent_steps": gathered,
        "value/explained_variance": explained_variance(trajectories.value, experience.target, valid, shards),
        "filter/advantage_scale": scale,
        "optimiser/learning_rate": learning_rate,
        "finite": shards.all(finite | finite_learning),
    }
    following = TrainState(
        worlds=worlds,
        params=params,
        acting=synced_actor(state, params, config.actor_refresh),
        optimiser=optimiser,
        advantage_scale=scale,
        key=key,
        update=state.update + 1,
        experience=add_agent_steps(state.experience, gathered),
    )
    return following, metrics


def synced_actor(state: TrainState, params: Any, every: int) -> Any:
    """The weights that act in the next update: the learner's after every `every` updates, else the same as before."""
    if state.acting is None:
        return None
    now = (state.update + 1) % every == 0
    return jax.tree.map(lambda new, old: jnp.where(now, new, old), params, state.acting)


def add_agent_steps(experience: jax.Array, gathered: jax.Array) -> jax.Array:
    """`TrainState.experience` after another `gathered` agent steps, in base 2^20: int32 overflows in a long run."""
    remainder = experience[1] + gathered
    return jnp.stack([experience[0] + remainder // MEGA, remainder % MEGA])


def explained_variance(value: jax.Array, target: jax.Array, valid: jax.Array, shards: Shards) -> jax.Array:
    """Share [] of the targets' variance explained by the critic, over valid samples: 1 is perfect, 0 a constant."""
    weight = valid.astype(jnp.float32)
    total = jnp.maximum(shards.sum(jnp.sum(weight)), 1.0)

    def variance(values: jax.Array) -> jax.Array:
        mean = shards.sum(jnp.sum(values * weight)) / total
        return shards.sum(jnp.sum((values - mean) ** 2 * weight)) / total

    return 1.0 - variance(target - value) / (variance(target) + 1e-8)
