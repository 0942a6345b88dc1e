"""Probe worlds: tiny environments whose true value is known, after rejax and Andy Jones' notes on debugging RL; and
recorded scenes made up by a rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simulator.logs.scene_pack import LoggedScene
from teacher.ppo.environment import Environment, Transition
from tests.recorded import logged_scene, straight_road

STEPS, STEP_S, WANTED_MPS, CARS, FIRST, LOST = 25, 0.25, 7.0, 4, 0, 3
PROBES = ("constant", "seen", "delayed", "action", "action and signal")


class ProbeState(NamedTuple):
    """Leaves [worlds, agents] except `age` [worlds] and `key_data` [worlds, 2]."""

    signal: Any
    step: Any
    age: Any
    key_data: Any


class ProbeObservation(NamedTuple):
    """What a probe shows; the set of bystanders says nothing and is a third empty."""

    ego: Any  # [worlds, agents, 2]: signal, step in the episode
    bystanders: Any  # [worlds, agents, 3, 2]
    bystanders_mask: Any  # [worlds, agents, 3]


class Choice(NamedTuple):
    """The shared arrays of a probe environment."""

    probe: Any  # [] i32, index into PROBES
    out: Any  # [] bool: the second agent of every world is out of play


@dataclass(frozen=True)
class Probe:
    """All probes in one environment, so that they share one compiled update; `data` (see `Choice`) picks one.

    Episodes last one step, two in "delayed", and begin anew by themselves with a random signal of -1 or +1. Worlds
    ask for a reset once they are `world_age` steps old.
    """

    num_worlds: int = 8
    num_agents: int = 8
    world_age: int = 1_000_000

    def rewards(self, data: Any, signal: Any, action: Any, step: Any) -> Any:
        sign = 1.0 - 2.0 * action.astype(jnp.float32)
        every = [jnp.ones_like(signal), signal, (step == 1).astype(jnp.float32), sign, sign * signal]
        return jnp.stack(every)[data.probe]

    def fresh_signal(self, key: Any) -> Any:
        return jax.random.bernoulli(key, 0.5, (self.num_agents,)).astype(jnp.float32) * 2.0 - 1.0

    def reset(self, data: Any, keys: Any) -> ProbeState:
        def one(key: Any) -> ProbeState:
            key, signal_key = jax.random.split(key)
            step = jnp.zeros((self.num_agents,), jnp.int32)
            return ProbeState(
                self.fresh_signal(signal_key), step, jnp.zeros((), jnp.int32), jax.random.key_data(key)
            )

        return jax.vmap(one)(keys)

    def step(self, data: Any, state: ProbeState, action: Any) -> Transition:
        reward = self.rewards(data, state.signal, action, state.step)
        keys = jax.vmap(jax.random.split)(jax.random.wrap_key_data(state.key_data))
        over = state.step + 1 >= jnp.where(data.probe == PROBES.index("delayed"), 2, 1)
        signal = jnp.where(over, jax.vmap(self.fresh_signal)(keys[:, 1]), state.signal)
        step = jnp.where(over, 0, state.step + 1)
        valid = jnp.ones_like(over).at[:, 1].set(~data.out)
        following = ProbeState(signal, step, state.age + 1, jax.random.key_data(keys[:, 0]))
        return Transition(following, reward, over, valid, {"probe": reward}, {"over": over})

    def observe(self, data: Any, state: ProbeState) -> ProbeObservation:
        ego = jnp.stack([state.signal, state.step.astype(jnp.float32)], axis=-1)
        bystanders = jnp.broadcast_to(ego[..., None, :] * 0.1, (*ego.shape[:-1], 3, 2))
        mask = jnp.broadcast_to(jnp.asarray([True, True, False]), bystanders.shape[:-1])
        return ProbeObservation(ego, bystanders, mask)

    def build(self) -> Environment:
        return Environment(
            num_worlds=self.num_worlds,
            num_agents=self.num_agents,
            num_actions=2,
            reset=self.reset,
            step=self.step,
            observe=self.observe,
            needs_reset=lambda data, state: state.age >= self.world_age,
            episode_metrics=lambda data, state: {"signal": state.signal},
            reset_chunk=3,
        )


@pytest.fixture(scope="session")
def make_probe() -> Callable[..., Environment]:
    """Builds the probe environment; `data` of its functions is what `choose_probe` gives."""
    return lambda **settings: Probe(**settings).build()


@pytest.fixture(scope="session")
def choose_probe() -> Callable[..., Choice]:
    """The `data` that picks a probe by name."""
    return lambda name, out=False: Choice(jnp.asarray(PROBES.index(name), jnp.int32), jnp.asarray(out))


@pytest.fixture(scope="session")
def make_scene() -> Callable[[int], LoggedScene]:
    """Builds the made-up recording of a number."""
    return braking_scene


def braking_scene(number: int) -> LoggedScene:
    """Cars on one lane of 300 m, 50 m apart, that brake or speed up until they drive at WANTED_MPS; one is lost for a
    while."""
    speed = np.empty((CARS, STEPS))
    speed[:, 0] = np.random.default_rng(number).uniform(2.0, 12.0, CARS)
    for now in range(1, STEPS):
        push = np.clip(1.5 * (WANTED_MPS - speed[:, now - 1]), -3.0, 2.0)
        speed[:, now] = speed[:, now - 1] + push * STEP_S
    driven = np.cumsum(0.5 * (speed[:, 1:] + speed[:, :-1]) * STEP_S, axis=1)
    position = np.zeros((CARS, STEPS, 3))
    position[..., 0] = 10.0 + 50.0 * np.arange(CARS)[:, None]
    position[:, 1:, 0] += driven
    valid = np.ones((CARS, STEPS), bool)
    valid[LOST, 10:13] = False
    return logged_scene(
        straight_road(300.0, 101), position, speed, valid=valid, timestep_s=STEP_S, name=f"scene {number}",
        ego_track=FIRST,
    )  # fmt: skip
