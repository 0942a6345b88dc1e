"""From a rollout to new weights: advantages, the filter, epochs of minibatches. `teacher.ppo.losses` has the
mathematics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key

from teacher.network.actor_critic import Params, TeacherNetwork, critic_value, logits_and_value
from teacher.ppo.environment import Environment
from teacher.ppo.finite_checks import all_finite
from teacher.ppo.losses import (
    PPOConfig,
    Samples,
    gae,
    normalise,
    ppo_loss,
    select_samples,
    selection_priority,
    v_trace,
)
from teacher.ppo.rollout import Metrics, Trajectories, log_prob_of
from teacher.ppo.sharding import Shards


class Experience(NamedTuple):
    """A rollout with advantages and value targets."""

    trajectories: Trajectories
    fixed: Any  # the constant part of the worlds, where observations are recomputed; else None
    advantage: Any  # [steps, worlds, agents] f32
    target: Any  # [steps, worlds, agents] f32, of the value


def make_optimiser(
    config: PPOConfig, learning_rate: float | Float[Array, ""]
) -> optax.GradientTransformation:
    """AdamW on clipped gradients.

    The learning rate is an argument and not a schedule of the step count, because it depends on agent-steps; the
    optimiser's state does not contain it.
    """

    def kernels(params: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

    return optax.chain(
        optax.clip_by_global_norm(config.max_grad_norm),
        optax.scale_by_adam(),
        optax.add_decayed_weights(config.weight_decay, mask=kernels),
        optax.scale_by_learning_rate(learning_rate),
    )


@dataclass(frozen=True)
class Learner:
    """What turns a rollout into new weights, besides arrays. Hashable, so that `jit` can hold it static."""

    environment: Environment
    network: TeacherNetwork
    config: PPOConfig
    shards: Shards

    def observation_at(self, data: Any, fixed: Any, seen: Any) -> Any:
        """Observations [worlds, agents, ...] of one step of a rollout: kept, or computed again from what moved."""
        if not self.config.recompute_observations:
            return seen
        return self.environment.observe(data, self.environment.join(fixed, seen))

    def estimate(
        self, data: Any, params: Params, past: Trajectories, fixed: Any, last_observation: Any
    ) -> Experience:
        """Advantages and value targets of a rollout, each [steps, worlds, agents].

        Generalised advantage estimation; where the rollout may be stale, V-trace: the present network is evaluated on
        it and each step is weighted by how likely the present policy is to take the same action.
        """
        config = self.config
        last_value = critic_value(self.network, params, last_observation)
        if not config.v_trace:
            advantage, target = gae(
                past.reward,
                past.value,
                last_value,
                past.terminated,
                past.valid,
                config.discount,
                config.trace_decay,
            )
            return Experience(past, fixed, advantage, target)

        def evaluate(_: None, step: tuple[Any, jax.Array]) -> tuple[None, Any]:
            seen, action = step
            logits, value = logits_and_value(self.network, params, self.observation_at(data, fixed, seen))
            return None, (log_prob_of(logits, action), value)

        _, (log_prob, value) = jax.lax.scan(evaluate, None, (past.seen, past.action))
        advantage, target = v_trace(
            past.reward,
            value,
            last_value,
            log_prob - past.log_prob,
            past.terminated,
            past.valid,
            config.discount,
            config.trace_decay,
        )
        return Experience(past, fixed, advantage, target)

    def gather_kept(self, data: Any, experience: Experience, index: jax.Array) -> Any:
        """Observations of the samples `index` [keep] (into steps x worlds x agents), leaves [keep, ...].

        Where they are computed again this goes through the rollout step by step, so that no more than one step's
        observations and the kept ones are ever in memory.
        """
        past = experience.trajectories
        if not self.config.recompute_observations:
            return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[3:])[index], past.seen)
        keep = index.shape[0]
        place = jnp.full(past.action.size, keep, jnp.int32).at[index].set(jnp.arange(keep, dtype=jnp.int32))
        first = jax.tree.map(lambda leaf: leaf[0], past.seen)
        shapes = jax.eval_shape(lambda: self.observation_at(data, experience.fixed, first))
        blank = jax.tree.map(lambda shape: jnp.zeros((keep, *shape.shape[2:]), shape.dtype), shapes)

        def one_step(kept: Any, step: tuple[Any, jax.Array]) -> tuple[Any, None]:
            seen, where = step
            observation = self.observation_at(data, experience.fixed, seen)

            def put(kept: jax.Array, new: jax.Array) -> jax.Array:
                return kept.at[where].set(new.reshape(-1, *new.shape[2:]), mode="drop")

            return jax.tree.map(put, kept, observation), None

        kept, _ = jax.lax.scan(one_step, blank, (past.seen, place.reshape(past.action.shape[0], -1)))
        return kept

    def learn(
        self,
        data: Any,
        params: Params,
        optimiser: optax.OptState,
        experience: Experience,
        scale: Float[Array, ""],
        learning_rate: Float[Array, ""],
        key: Key[Array, ""],
    ) -> tuple[Params, optax.OptState, Metrics, dict[str, jax.Array]]:
        """Filter the rollout and take `epochs` x minibatches gradient steps; the key is consumed.

        ``scale`` is the moving average of max |advantage|. Returns weights, optimiser state, metrics, and which tensors
        held finite numbers only.
        """
        config, shards = self.config, self.shards
        shuffle_key, priority_key = jax.random.split(key)
        past, advantage = experience.trajectories, experience.advantage.reshape(-1)
        valid = past.valid.reshape(-1)
        keep = config.kept_samples(advantage.size * shards.count, shards.count)
        threshold = config.filter_threshold * scale
        priority = selection_priority(config.selection, advantage, priority_key)
        index, passes = select_samples(advantage, valid, threshold, keep, priority)
        kept = Samples(
            observation=self.gather_kept(data, experience, index),
            action=past.action.reshape(-1)[index],
            log_prob=past.log_prob.reshape(-1)[index],
            advantage=normalise(advantage, valid, index, passes, shards),
            target=experience.target.reshape(-1)[index],
            weight=passes.astype(jnp.float32),
        )

        def gradient_step(carry: tuple[Any, Any], chosen: jax.Array) -> tuple[tuple[Any, Any], Any]:
            samples = jax.tree.map(lambda leaf: leaf[chosen], kept)
            return self.apply_gradient(*carry, samples, learning_rate)

        order = jnp.argsort(jax.random.bits(shuffle_key, (config.epochs, keep)), axis=-1)
        order = order.reshape(-1, config.minibatch_size // shards.count)
        (params, optimiser), (losses, finite) = jax.lax.scan(gradient_step, (params, optimiser), order)
        metrics = {name: jnp.mean(values) for name, values in losses.items()}
        count = shards.sum(
            {
                "valid": jnp.sum(valid.astype(jnp.float32)),
                "passing": jnp.sum((valid & (jnp.abs(advantage) >= threshold)).astype(jnp.float32)),
                "trained": jnp.sum(kept.weight),
            }
        )
        for name in ("passing", "trained"):
            metrics[f"filter/{name}_share"] = count[name] / jnp.maximum(count["valid"], 1.0)
        return params, optimiser, metrics, {name: jnp.all(values) for name, values in finite.items()}

    def apply_gradient(
        self, params: Params, optimiser: optax.OptState, samples: Samples, learning_rate: Float[Array, ""]
    ) -> tuple[tuple[Params, optax.OptState], tuple[Metrics, dict[str, jax.Array]]]:
        """One AdamW step on one minibatch, the shards' parts of it summed."""
        config, shards = self.config, self.shards
        total = jnp.maximum(shards.sum(jnp.sum(samples.weight)), 1.0)

        def loss(params: Any) -> tuple[jax.Array, Metrics]:
            logits, value = logits_and_value(self.network, params, samples.observation)
            return ppo_loss(
                logits, value, samples, config.clip_ratio, config.value_weight, config.entropy_weight, total
            )

        (_, losses), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        losses, gradient = shards.sum((losses, gradient))
        change, optimiser = make_optimiser(config, learning_rate).update(gradient, optimiser, params)
        params = optax.apply_updates(params, change)
        metrics = {f"loss/{name}": value for name, value in losses.items()}
        finite = all_finite("loss", losses) | all_finite("gradient", gradient) | all_finite("weights", params)
        return (params, optimiser), (
            metrics | {"optimiser/gradient_norm": optax.global_norm(gradient)},
            finite,
        )
