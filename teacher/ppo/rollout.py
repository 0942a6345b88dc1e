"""The data of one update: reset the worlds whose episode is over, then drive every agent with the acting policy."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from simulator.array_field import ArrayField
from simulator.rollout import Step, rollout
from teacher.network.actor_critic import Params, TeacherNetwork, logits_and_value, sample_actions
from teacher.ppo.environment import Environment, Transition
from teacher.ppo.finite_checks import all_finite
from teacher.ppo.sharding import ONE_SHARD, Shards

Metrics = dict[str, Any]


class Trajectories(NamedTuple):
    """One rollout; leaves [steps, worlds, agents, ...] but for `seen`."""

    seen: Any  # observations; or, where they are to be computed again, what moves in the worlds [steps, worlds, ...]
    action: ArrayField  # i32
    log_prob: ArrayField  # f32
    value: ArrayField  # f32
    reward: ArrayField  # f32
    terminated: ArrayField  # bool
    valid: ArrayField  # bool


class Acted(NamedTuple):
    """What the policy gives at one step; leaves [worlds, agents, ...]."""

    action: ArrayField  # i32
    observation: Any
    logits: ArrayField  # [..., actions] f32
    value: ArrayField  # f32
    log_prob: ArrayField  # f32, of the action


def reset_finished(
    environment: Environment,
    data: Any,
    worlds: Any,
    blank: jax.Array,
    key: jax.Array,
    shards: Shards = ONE_SHARD,
) -> tuple[Any, Metrics]:
    """Start new episodes in the worlds that need one, a few worlds at a time; the key is consumed.

    `blank` [] says that no world holds an episode yet. Also gives the means over the agents of the episodes that
    ended (NaN where none did).
    """
    needed = environment.needs_reset(data, worlds) & ~blank
    metrics: Metrics = {"episode/finished": shards.sum(jnp.sum(needed.astype(jnp.int32)))}
    if environment.episode_metrics is not None:
        for name, values in environment.episode_metrics(data, worlds).items():
            known = needed[:, None] & ~jnp.isnan(values)
            metrics[f"episode/{name}"] = shards.sum(jnp.sum(jnp.where(known, values, 0.0))) / shards.sum(
                jnp.sum(known.astype(jnp.float32))
            )

    fresh = partial(environment.reset, data)
    return auto_reset(worlds, needed | blank, fresh, key, environment.reset_chunk), metrics


def auto_reset(
    worlds: Any, needed: jax.Array, fresh: Callable[[jax.Array], Any], key: jax.Array, chunk: int
) -> Any:
    """Worlds in which those that are `needed` [worlds] are reset, `chunk` at a time; the key is consumed.

    `fresh` gives as many new worlds as it gets keys.
    """
    chunk = min(chunk, needed.shape[0])

    def reset_some(carry: tuple[jax.Array, Any, jax.Array]) -> tuple[jax.Array, Any, jax.Array]:
        needed, worlds, key = carry
        key, fresh_key = jax.random.split(key)
        _, index = jax.lax.top_k(needed.astype(jnp.int32), chunk)
        made = fresh(jax.random.split(fresh_key, chunk))

        def replace(old: jax.Array, new: jax.Array) -> jax.Array:
            use = needed[index].reshape((chunk,) + (1,) * (old.ndim - 1))
            return old.at[index].set(jnp.where(use, new, old[index]))

        return needed.at[index].set(False), jax.tree.map(replace, worlds, made), key

    return jax.lax.while_loop(lambda carry: jnp.any(carry[0]), reset_some, (needed, worlds, key))[1]


def collect_rollout(
    environment: Environment,
    network: TeacherNetwork,
    steps: int,
    data: Any,
    params: Params,
    worlds: Any,
    key: jax.Array,
    keep_observations: bool = True,
) -> tuple[Any, Trajectories, Metrics, dict[str, jax.Array]]:
    """Drive every agent for `steps` with actions drawn from the policy; the key is consumed.

    Returns the worlds afterwards, the rollout, sums over its valid agents of rewards and events, and which of its
    tensors held finite numbers only.
    """

    def policy_fn(worlds: Any, key: jax.Array) -> Acted:
        observation = environment.observe(data, worlds)
        logits, value = logits_and_value(network, params, observation)
        action = sample_actions(logits, key)
        return Acted(action, observation, logits, value, log_prob_of(logits, action))

    def step_fn(worlds: Any, acted: Acted) -> tuple[Any, Transition]:
        transition = environment.step(data, worlds, acted.action)
        return transition.state, transition

    def record(step: Step) -> tuple[Trajectories, Metrics, dict[str, jax.Array]]:
        acted, transition = step.action, step.outcome
        seen = acted.observation if keep_observations else environment.split(step.state)[1]
        row = Trajectories(
            seen,
            acted.action,
            acted.log_prob,
            acted.value,
            transition.reward,
            transition.terminated,
            transition.valid,
        )
        finite = all_finite("observation", acted.observation) | all_finite("reward", transition.reward_terms)
        finite |= all_finite("policy", {"logits": acted.logits, "value": acted.value})
        return row, count_events(transition), finite

    worlds, kept = rollout(policy_fn, step_fn, worlds, jax.random.split(key, steps), record)
    trajectories, sums, finite = kept
    logs = {name: jnp.sum(values) for name, values in sums.items()}
    return worlds, trajectories, logs, {name: jnp.all(values) for name, values in finite.items()}


def log_prob_of(logits: jax.Array, action: jax.Array) -> jax.Array:
    """Log-probability [...] of actions [...] under logits [..., actions]."""
    return jnp.take_along_axis(jax.nn.log_softmax(logits), action[..., None], axis=-1)[..., 0]


def count_events(transition: Transition) -> Metrics:
    """Sums over valid agents of the reward, its terms and the events of one step."""
    weight = transition.valid.astype(jnp.float32)
    named = {"reward/total": transition.reward}
    named |= {f"reward/{name}": values for name, values in transition.reward_terms.items()}
    named |= {f"event/{name}": values for name, values in transition.events.items()}
    return {name: jnp.sum(values.astype(jnp.float32) * weight) for name, values in named.items()}
