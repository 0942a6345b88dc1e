"""Agents with which something is wrong, so that nobody learns to rely on the others (GIGAFLOW, arXiv 2502.03349).

A BLIND agent does not observe other agents. A BRAKER now and then brakes as hard as it can for no reason, and stands
until the spell is over. Both are driven by policy and are active, but are not `spawned`: what they do is neither learnt
from simulator.conventions import HARDEST_BRAKING
from nor counted. Whether an agent brakes at a step follows from fields of the scenario (its light phase and the agent's
number), so a step needs no random key and a forked world brakes at the same moments. Spells and their lengths are ours.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from simulator.config import SimulatorConfig
from simulator.conventions import HARDEST_BRAKING
from simulator.state import BLIND, BRAKER, WorldState

EVERY_S, SPELL_S = (10.0, 30.0), (1.5, 4.0)
"""Least and greatest time from one spell of braking to the next, and length of a spell; drawn once per episode."""


def braking(state: WorldState, config: SimulatorConfig) -> Bool[Array, " agents"]:
    """Which agents are in a spell of braking now."""
    every = EVERY_S[0] + (EVERY_S[1] - EVERY_S[0]) * _lot(state, 61.7)
    spell = SPELL_S[0] + (SPELL_S[1] - SPELL_S[0]) * _lot(state, 137.3)
    time_s = state.step * config.timestep_s + every * _lot(state, 211.9)
    return (state.scenario.noise == BRAKER) & (jnp.mod(time_s, every) < spell)


def _lot(state: WorldState, factor: float) -> Float[Array, " agents"]:
    """A number in [0, 1) per agent, as good as random, from the world's light phase and the agent's number."""
    number = jnp.arange(1, state.yaw.shape[0] + 1)
    value = factor * (state.scenario.light_phase + 0.618034 * number)
    return value - jnp.floor(value)


def override(
    state: WorldState, action: Int[Array, " agents"], config: SimulatorConfig
) -> Int[Array, " agents"]:
    """The actions, with the hardest braking of those who brake."""
    return jnp.where(braking(state, config), HARDEST_BRAKING, action)


def hold(before: WorldState, moved: WorldState, config: SimulatorConfig) -> WorldState:
    """``moved``, but who brakes does not back up: it stands until its spell is over."""
    stands = braking(before, config) & before.active & (before.speed <= 0) & (moved.speed <= 0)
    return moved.replace(
        position=jnp.where(stands[:, None], before.position, moved.position),
        yaw=jnp.where(stands, before.yaw, moved.yaw),
        speed=jnp.where(stands, 0.0, moved.speed),
        acceleration=jnp.where(stands, 0.0, moved.acceleration),
    )


def unseen_by_blind(
    state: WorldState, others: Float[Array, "agents n columns"], mask: Bool[Array, "agents n"]
) -> tuple[Float[Array, "agents n columns"], Bool[Array, "agents n"]]:
    """What agents observe of others, and which slots hold one: nothing for those that are blind."""
    sees = state.scenario.noise != BLIND
    return jnp.where(sees[:, None, None], others, 0.0), mask & sees[:, None]
