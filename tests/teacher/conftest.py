"""Probe worlds: tiny environments whose true value is known, after rejax and Andy Jones' notes on debugging RL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pytest

from teacher.environment import Environment, Transition


class ProbeState(NamedTuple):
    """Leaves [worlds, agents] except `age` [worlds] and `key_data` [worlds, 2]."""

    signal: Any
    step: Any
    age: Any
    key_data: Any


class ProbeObservation(NamedTuple):
    """What a probe shows; the set of bystanders says nothing and is half empty."""

    ego: Any  # [worlds, agents, 2]: signal, step in the episode
    bystanders: Any  # [worlds, agents, 3, 2]
    bystanders_mask: Any  # [worlds, agents, 3]


@dataclass(frozen=True)
class Probe:
    """Builds an Environment whose agents live `length` steps and earn `reward(signal, action, step)`."""

    reward: Callable[[Any, Any, Any], Any]
    length: int = 1
    num_worlds: int = 8
    num_agents: int = 8
    world_age: int = 1_000_000

    def fresh_signal(self, key: Any) -> Any:
        """-1 or +1 per agent."""
        return jax.random.bernoulli(key, 0.5, (self.num_agents,)).astype(jnp.float32) * 2.0 - 1.0

    def reset(self, data: Any, keys: Any) -> ProbeState:
        def one(key: Any) -> ProbeState:
            key, signal_key = jax.random.split(key)
            step = jnp.zeros((self.num_agents,), jnp.int32)
            return ProbeState(self.fresh_signal(signal_key), step, jnp.zeros((), jnp.int32), jax.random.key_data(key))

        return jax.vmap(one)(keys)

    def step(self, data: Any, state: ProbeState, action: Any) -> Transition:
        reward = self.reward(state.signal, action, state.step).astype(jnp.float32)
        keys = jax.vmap(jax.random.split)(jax.random.wrap_key_data(state.key_data))
        over = state.step + 1 >= self.length
        signal = jnp.where(over, jax.vmap(self.fresh_signal)(keys[:, 1]), state.signal)
        step = jnp.where(over, 0, state.step + 1)
        valid = jnp.ones_like(over)
        next_state = ProbeState(signal, step, state.age + 1, jax.random.key_data(keys[:, 0]))
        return Transition(next_state, reward, over, valid, {"probe": reward}, {"over": over})

    def observe(self, data: Any, state: ProbeState) -> ProbeObservation:
        ego = jnp.stack([state.signal, state.step.astype(jnp.float32)], axis=-1)
        bystanders = jnp.broadcast_to(ego[..., None, :] * 0.1, (*ego.shape[:-1], 3, 2))
        mask = jnp.broadcast_to(jnp.asarray([True, True, False]), bystanders.shape[:-1])
        return ProbeObservation(ego, bystanders, mask)

    def needs_reset(self, data: Any, state: ProbeState) -> Any:
        return state.age >= self.world_age

    def episode_metrics(self, data: Any, state: ProbeState) -> dict[str, Any]:
        return {"signal": state.signal}

    def build(self) -> Environment:
        return Environment(
            num_worlds=self.num_worlds,
            num_agents=self.num_agents,
            num_actions=2,
            reset=self.reset,
            step=self.step,
            observe=self.observe,
            needs_reset=self.needs_reset,
            episode_metrics=self.episode_metrics,
            reset_chunk=3,
        )


PROBES = {
    "constant": Probe(lambda signal, action, step: jnp.ones_like(signal)),
    "seen": Probe(lambda signal, action, step: signal),
    "delayed": Probe(lambda signal, action, step: (step == 1).astype(jnp.float32), length=2),
    "action": Probe(lambda signal, action, step: 1.0 - 2.0 * action.astype(jnp.float32)),
    "action and signal": Probe(lambda signal, action, step: signal * (1.0 - 2.0 * action.astype(jnp.float32))),
}


@pytest.fixture
def probe() -> Callable[[str], Probe]:
    """A probe world by name."""
    return PROBES.__getitem__
