"""Agents with a fault, so that a policy does not learn to rely on the others (GIGAFLOW, arXiv 2502.03349).

A BLIND agent does not observe other agents. An agent with SUDDEN_BRAKING brakes as hard as it can during some intervals
and then stands still until the interval ends. Both are driven by policy and active, but not `spawned`: training and
metrics leave them out. Whether an agent brakes in a step follows from the step number and the scenario (its light phase
and the agent's index), so a step needs no random key and a fork of the world brakes in the same steps. The lengths of
the intervals are our choice.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from simulator.config import SimulatorConfig
from simulator.dynamics.action_model import StepModel
from simulator.state import BLIND, SUDDEN_BRAKING, WorldState

PERIOD_S, BRAKING_S = (10.0, 30.0), (1.5, 4.0)
"""Ranges of the time from the start of one braking interval to the next and of an interval's length; drawn once per
agent and episode."""


def brakes_suddenly(state: WorldState, config: SimulatorConfig) -> Bool[Array, " agents"]:
    """Agents that are in a braking interval now."""
    period = PERIOD_S[0] + (PERIOD_S[1] - PERIOD_S[0]) * _hash_uniform(state, 61.7)
    length = BRAKING_S[0] + (BRAKING_S[1] - BRAKING_S[0]) * _hash_uniform(state, 137.3)
    time_s = state.step * config.timestep_s + period * _hash_uniform(state, 211.9)
    return (state.scenario.fault == SUDDEN_BRAKING) & (jnp.mod(time_s, period) < length)


def _hash_uniform(state: WorldState, factor: float) -> Float[Array, " agents"]:
    """Hash-based random number in [0, 1) per agent from the world's light phase and the agent's index; another
    ``factor`` gives other numbers."""
    number = jnp.arange(1, state.yaw.shape[0] + 1)
    value = factor * (state.scenario.light_phase + 0.618034 * number)
    return value - jnp.floor(value)


def apply_sudden_braking(state: WorldState, action: Any, model: StepModel, config: SimulatorConfig) -> Any:
    """Actions of ``model``, leaves [agents, ...], with its hardest braking for agents in a braking interval."""
    braking = brakes_suddenly(state, config)

    def replace(hardest: Array, own: Array) -> Array:
        return jnp.where(braking.reshape(-1, *[1] * (own.ndim - 1)), hardest, own)

    return jax.tree.map(replace, model.hardest_braking(action), action)


def hold_at_standstill(state: WorldState, next_state: WorldState, config: SimulatorConfig) -> WorldState:
    """``next_state``, except that braking agents do not reverse: they keep the pose of ``state`` at speed 0 until the
    interval ends."""
    stands = brakes_suddenly(state, config) & state.active & (state.speed <= 0) & (next_state.speed <= 0)
    return next_state.replace(
        position=jnp.where(stands[:, None], state.position, next_state.position),
        yaw=jnp.where(stands, state.yaw, next_state.yaw),
        speed=jnp.where(stands, 0.0, next_state.speed),
        acceleration=jnp.where(stands, 0.0, next_state.acceleration),
    )


def hide_others_from_blind(
    state: WorldState, others: Float[Array, "agents n columns"], mask: Bool[Array, "agents n"]
) -> tuple[Float[Array, "agents n columns"], Bool[Array, "agents n"]]:
    """Observed features of other agents and which slots are filled, both cleared for blind agents."""
    sees = state.scenario.fault != BLIND
    return jnp.where(sees[:, None, None], others, 0.0), mask & sees[:, None]
