"""Proposals of the student to the simulator, and their sub-scores back."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import torch
from jaxtyping import Array, Float, Int
from torch import Tensor

from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import SimulatorConfig
from simulator.judging.sub_scores import SubScores
from simulator.state import WorldState
from student.bridge.dlpack import to_jax, to_torch
from student.sub_scores import SUB_SCORES, JudgedProposals
from teacher.judge import judge_candidates
from teacher.policy import Policy


def judged_proposals(
    state: WorldState,
    teacher: Policy,
    atlas: RoadAtlas,
    rules: SimulatorConfig,
    agents: Int[Tensor, " judged"],
    candidates: Float[Tensor, "judged proposals poses 3"],
    places: int,
) -> JudgedProposals:
    """Sub-scores of trajectories of some agents (world * num_agents + agent) of batched worlds, on the agents' device.

    There are at most ``places`` of them; always so many are computed, so that one compiled function serves any number.
    """
    assert len(agents) <= places, "the caller limits the agents"
    count = len(agents)
    flat = torch.zeros(places, dtype=torch.int32, device=agents.device)
    poses = torch.zeros(places, *candidates.shape[1:], device=agents.device)
    flat[:count], poses[:count] = agents, candidates.to(poses)
    values, valid = _judge(state, teacher, atlas, rules, to_jax(flat), to_jax(poses))
    return JudgedProposals(poses[:count], to_torch(values)[:count], to_torch(valid)[:count])


@partial(jax.jit, static_argnames="rules")
def _judge(
    state: WorldState,
    teacher: Policy,
    atlas: RoadAtlas,
    rules: SimulatorConfig,
    flat: Int[Array, " judged"],
    poses: Float[Array, "judged proposals poses 3"],
) -> tuple[Array, Array]:
    """Sub-scores in the order of SUB_SCORES [judged, proposals, sub_scores], and where they are defined."""
    agents = jnp.stack([flat // rules.num_agents, flat % rules.num_agents], axis=-1)
    found: SubScores = judge_candidates(state, replace(teacher, simulator=rules), atlas, agents, poses)
    values = jnp.stack([getattr(found, name) for name in SUB_SCORES], axis=-1)
    known = [
        found.time_to_collision_known if name == "time_to_collision" else jnp.ones(values.shape[:2], bool)
        for name in SUB_SCORES
    ]
    return values, jnp.stack(known, axis=-1)
