"""One PPO update as one jitted program: reset finished worlds, roll out, estimate advantages, filter, learn.

Nothing inside waits for the host. Everything that a run needs to go on is in `TrainState`, PRNG key included, so a
run is a pure function of its first state: N updates + save + load + N updates equal 2N updates.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from teacher.environment import Environment
from teacher.network import TeacherNetwork, init_params
from teacher.ppo import (
    PPOConfig,
    Samples,
    gae,
    learning_rate_factor,
    normalise,
    ppo_loss,
    select_samples,
    selection_priority,
    update_scale,
)
from teacher.rollout import Metrics, Trajectories, reset_finished, roll_out

if TYPE_CHECKING:
    from jax import Array as Leaf
else:
    Leaf = Any  # JAX rebuilds pytrees with placeholders, so fields are not type-checked at run time

MEGA = 1 << 20


@struct.dataclass
class TrainState:
    """Everything a run carries from one update to the next."""

    worlds: Any  # environment state, leaves [worlds, ...]
    params: Any  # weights of actor and critic
    optimiser: Any  # AdamW's moments and step count
    advantage_scale: Leaf  # [] f32: moving average of max |advantage|, 0 before the first batch
    key: Leaf  # typed PRNG key
    update: Leaf  # [] i32: updates made
    experience: Leaf  # [2] i32: agent steps gathered, as (multiples of 2^20, remainder), since int32 ends at 2 billion


def agent_steps(experience: Any) -> int:
    """Agent steps gathered so far, from `TrainState.experience`, as a Python integer."""
    mega, remainder = (int(part) for part in experience)
    return mega * MEGA + remainder


def make_optimiser(config: PPOConfig) -> optax.GradientTransformation:
    """AdamW on clipped gradients, without its learning rate: that one falls with experience and is applied outside."""

    def kernels(params: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

    return optax.chain(
        optax.clip_by_global_norm(config.max_grad_norm),
        optax.scale_by_adam(),
        optax.add_decayed_weights(config.weight_decay, mask=kernels),
    )


def init_state(
    environment: Environment, network: TeacherNetwork, config: PPOConfig, data: Any, seed: int
) -> TrainState:
    """The first state of a run, a function of the seed alone.

    Its worlds are blank: the first update resets them all, so that resetting is compiled once, not twice.
    """
    key = jax.random.key(seed)
    reset_keys = jax.eval_shape(lambda key: jax.random.split(key, environment.num_worlds), key)
    worlds = jax.eval_shape(environment.reset, data, reset_keys)
    observation = jax.eval_shape(environment.observe, data, worlds)

    @jax.jit
    def build(key: jax.Array) -> TrainState:
        key, params_key = jax.random.split(key)
        params = init_params(network, observation, params_key)
        return TrainState(
            worlds=jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), worlds),
            params=params,
            optimiser=make_optimiser(config).init(params),
            advantage_scale=jnp.zeros((), jnp.float32),
            key=key,
            update=jnp.zeros((), jnp.int32),
            experience=jnp.zeros((2,), jnp.int32),
        )

    return build(key)


def make_update(
    environment: Environment, network: TeacherNetwork, config: PPOConfig, total_agent_steps: int
) -> Callable[[TrainState, Any], tuple[TrainState, Metrics]]:
    """The jitted update (state, data) -> (state, metrics). The state given in is donated: its buffers are reused."""
    config.kept_samples(
        config.rollout_steps * environment.num_worlds * environment.num_agents
    )  # refuse early
    return jax.jit(partial(update, environment, network, config, float(total_agent_steps)), donate_argnums=0)


def update(
    environment: Environment,
    network: TeacherNetwork,
    config: PPOConfig,
    total_agent_steps: float,
    state: TrainState,
    data: Any,
) -> tuple[TrainState, Metrics]:
    """Gather one rollout with the current policy and learn from it."""
    key, reset_key, rollout_key, learn_key = jax.random.split(state.key, 4)
    worlds, episode_metrics = reset_finished(environment, data, state.worlds, state.update == 0, reset_key)
    worlds, trajectories, logs = roll_out(
        environment, network, config.rollout_steps, data, state.params, worlds, rollout_key
    )
    last_value = network.apply(state.params, environment.observe(data, worlds), method="value")
    advantage, target = gae(
        trajectories.reward,
        trajectories.value,
        last_value,
        trajectories.terminated,
        trajectories.valid,
        config.discount,
        config.trace_decay,
    )
    scale = update_scale(state.advantage_scale, advantage, trajectories.valid, config.filter_decay)
    progress = jnp.dot(state.experience.astype(jnp.float32), jnp.asarray([MEGA, 1.0])) / total_agent_steps
    learning_rate = config.learning_rate * learning_rate_factor(config.schedule, progress)
    params, optimiser, losses = learn(
        network, config, state, trajectories, advantage, target, scale, learning_rate, learn_key
    )
    gathered = jnp.sum(trajectories.valid.astype(jnp.int32))
    metrics = {
        **episode_metrics,
        **logs,
        **losses,
        "agent_steps": gathered,
        "value/explained_variance": explained_variance(trajectories.value, target, trajectories.valid),
        "filter/advantage_scale": scale,
        "optimiser/learning_rate": learning_rate,
    }
    return (
        TrainState(
            worlds=worlds,
            params=params,
            optimiser=optimiser,
            advantage_scale=scale,
            key=key,
            update=state.update + 1,
            experience=add_experience(state.experience, gathered),
        ),
        metrics,
    )


def add_experience(experience: jax.Array, gathered: jax.Array) -> jax.Array:
    """Carry-over addition in base 2^20, because float32 and int32 both lose count in a long run."""
    remainder = experience[1] + gathered
    return jnp.stack([experience[0] + remainder // MEGA, remainder % MEGA])


def explained_variance(value: jax.Array, target: jax.Array, valid: jax.Array) -> jax.Array:
    """Share of the targets' variance that the critic foresaw, over valid samples: 1 is perfect, 0 is a constant."""
    weight = valid.astype(jnp.float32)
    total = jnp.maximum(jnp.sum(weight), 1.0)

    def variance(values: jax.Array) -> jax.Array:
        mean = jnp.sum(values * weight) / total
        return jnp.sum((values - mean) ** 2 * weight) / total

    return 1.0 - variance(target - value) / (variance(target) + 1e-8)


def learn(
    network: TeacherNetwork,
    config: PPOConfig,
    state: TrainState,
    trajectories: Trajectories,
    advantage: jax.Array,
    target: jax.Array,
    scale: jax.Array,
    learning_rate: jax.Array,
    key: jax.Array,
) -> tuple[Any, Any, Metrics]:
    """Filter the rollout and take `epochs` x minibatches gradient steps; the key is consumed.

    Kept samples are gathered minibatch by minibatch straight from the rollout: no shuffled copy of it is made.
    """
    shuffle_key, priority_key = jax.random.split(key)
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[3:]), trajectories)
    advantage, target = advantage.reshape(-1), target.reshape(-1)
    keep = config.kept_samples(advantage.shape[0])
    threshold = config.filter_threshold * scale
    priority = selection_priority(config.selection, advantage, priority_key)
    index, passes = select_samples(advantage, flat.valid, threshold, keep, priority)
    normalised = normalise(advantage, flat.valid, index, passes)
    weight = passes.astype(jnp.float32)

    def gradient_step(carry: tuple[Any, Any], chosen: jax.Array) -> tuple[tuple[Any, Any], Metrics]:
        params, optimiser = carry
        rows = index[chosen]
        samples = Samples(
            observation=jax.tree.map(lambda leaf: leaf[rows], flat.observation),
            action=flat.action[rows],
            log_prob=flat.log_prob[rows],
            advantage=normalised[chosen],
            target=target[rows],
            weight=weight[chosen],
        )
        return apply_gradient(network, config, params, optimiser, samples, learning_rate)

    order = jnp.argsort(jax.random.bits(shuffle_key, (config.epochs, keep)), axis=-1)
    order = order.reshape(-1, config.minibatch_size)
    (params, optimiser), metrics = jax.lax.scan(gradient_step, (state.params, state.optimiser), order)
    losses = {name: jnp.mean(values) for name, values in metrics.items()}
    passing = jnp.sum((flat.valid & (jnp.abs(advantage) >= threshold)).astype(jnp.float32))
    valid = jnp.maximum(jnp.sum(flat.valid.astype(jnp.float32)), 1.0)
    losses["filter/passing_share"] = passing / valid
    losses["filter/trained_share"] = jnp.sum(weight) / valid
    return params, optimiser, losses


def apply_gradient(
    network: TeacherNetwork,
    config: PPOConfig,
    params: Any,
    optimiser: Any,
    samples: Samples,
    learning_rate: jax.Array,
) -> tuple[tuple[Any, Any], Metrics]:
    """One AdamW step on one minibatch."""

    def loss(params: Any) -> tuple[jax.Array, Metrics]:
        logits, value = network.apply(params, samples.observation)
        return ppo_loss(logits, value, samples, config.clip_ratio, config.value_weight, config.entropy_weight)

    (_, metrics), gradient = jax.value_and_grad(loss, has_aux=True)(params)
    direction, optimiser = make_optimiser(config).update(gradient, optimiser, params)
    params = jax.tree.map(lambda leaf, step: leaf - learning_rate * step, params, direction)
    losses = {f"loss/{name}": value for name, value in metrics.items()}
    return (params, optimiser), {**losses, "optimiser/gradient_norm": optax.global_norm(gradient)}
