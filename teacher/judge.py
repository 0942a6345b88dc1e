"""Trajectories of the student judged in a fork of the world: one of them departs, all others act as the teacher."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from simulator.atlas.road_atlas import RoadAtlas
from simulator.conventions import NUM_POSES
from simulator.judging.sub_scores import SubScores, judge
from simulator.judging.traffic import record_traffic
from simulator.rollout import rollout, step_fn_of
from simulator.state import WorldState
from teacher.policy import Policy, make_policy_fn


def judge_candidates(
    state: WorldState,
    policy: Policy,
    atlas: RoadAtlas,
    agents: Int[Array, "judged 2"],
    poses: Float[Array, "judged candidates poses 3"],
) -> SubScores:
    """Sub-scores of trajectories over 4 s, see `simulator.judging.sub_scores`.

    One rollout of all worlds, in which ``policy`` drives every agent by its most likely action as in `teacher.label`,
    gives the traffic, and one more the followers of all candidates. ``agents`` are pairs of world and agent, ``poses``
    rear-axle poses as seen from the rear axle now. Draws nothing.
    """
    config = dataclasses.replace(policy.simulator, detailed_metrics=False)
    state = state.replace(driving_quality=None)
    keys = jax.random.split(jax.random.key(0), NUM_POSES * config.steps_per_pose)  # greedy: they draw nothing
    act, step = make_policy_fn(policy, atlas, config, greedy=True), step_fn_of(atlas, config)
    final, traffic = rollout(act, step, state, keys, record_traffic)
    gained_m = jnp.where(final.active, final.route_m - state.route_m, 0.0)
    return judge(state, traffic, gained_m, agents, poses, atlas, config)
