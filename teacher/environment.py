"""What PPO needs from a world, as a handful of pure functions over a batch of worlds.

`train.py` knows nothing else about the simulator, so that a probe world with a known value plugs in as well as a
town does. Every function takes `data` first: the arrays that worlds share and that never change (the road atlas).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax


class Transition(NamedTuple):
    """What one step of every world gives."""

    state: Any  # the next state of all worlds, leaves [worlds, ...]
    reward: jax.Array  # [worlds, agents] f32
    terminated: jax.Array  # [worlds, agents] bool: crashed, left the road or arrived in this step; no bootstrap
    valid: jax.Array  # [worlds, agents] bool: was active when the step began; other samples are left out of everything
    reward_terms: dict[str, jax.Array]  # name -> [worlds, agents] f32, for logs
    events: dict[str, jax.Array]  # name -> [worlds, agents] bool or f32, for logs


@dataclass(frozen=True)
class Environment:
    """Pure functions over a batch of worlds; hashable, so that `jit` can hold it static.

    Attributes:
        num_worlds, num_agents, num_actions: sizes of the batch and of the action table.
        reset: (data, keys [n]) -> states of n fresh worlds, leaves [n, ...]; the keys are consumed.
        step: (data, state, action [worlds, agents] i32) -> Transition.
        observe: (data, state) -> observation, leaves [worlds, agents, ...].
        needs_reset: (data, state) -> [worlds] bool: episode over, or too few agents left.
        episode_metrics: (data, state) -> name -> [worlds, agents] f32 of finished episodes, NaN for empty slots.
        reset_chunk: how many worlds are reset at a time; a reset costs in proportion to the worlds that need one.
    """

    num_worlds: int
    num_agents: int
    num_actions: int
    reset: Callable[[Any, jax.Array], Any]
    step: Callable[[Any, Any, jax.Array], Transition]
    observe: Callable[[Any, Any], Any]
    needs_reset: Callable[[Any, Any], jax.Array]
    episode_metrics: Callable[[Any, Any], dict[str, jax.Array]] | None = None
    reset_chunk: int = 4
