"""Labels of batched worlds: the teacher drives on from a fork of their states, under the rules of these worlds."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import jax
from jaxtyping import Array, Bool, Float, Key

from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import SimulatorConfig
from simulator.reset.other_routes import with_other_routes
from simulator.state import WorldState
from student.bridge.scene import heading_change
from teacher.label import Label, label
from teacher.policy import Policy


@partial(jax.jit, static_argnames="rules")
def forked_label(
    key: Key[Array, ""], state: WorldState, teacher: Policy, atlas: RoadAtlas, rules: SimulatorConfig
) -> Label:
    """Labels of all agents; the fork is without detailed metrics. The key is consumed."""
    return _label(key, state, teacher, atlas, rules)


@partial(jax.jit, static_argnames="rules")
def forked_label_elsewhere(
    key: Key[Array, ""],
    state: WorldState,
    share: Array | float,
    teacher: Policy,
    atlas: RoadAtlas,
    rules: SimulatorConfig,
) -> tuple[Label, Bool[Array, "worlds agents"], Float[Array, "worlds agents"]]:
    """Labels of all agents in a fork in which each has, with probability ``share``, another route from where it is; who
    has one; and the heading change ahead (rad, see `student.bridge.scene.heading_change`) on the routes of the fork.
    The key is consumed."""
    which_key, route_key, label_key = jax.random.split(key, 3)
    which = jax.random.bernoulli(which_key, share, state.yaw.shape)
    keys = jax.random.split(route_key, state.yaw.shape[0])
    other, changed = jax.vmap(with_other_routes, (0, 0, 0, None, None))(keys, state, which, atlas, rules)
    told = jax.vmap(jax.vmap(heading_change))(other.scenario.route_yaw, other.route_m)
    return _label(label_key, other, teacher, atlas, rules), changed, told


def _label(
    key: Key[Array, ""], state: WorldState, teacher: Policy, atlas: RoadAtlas, rules: SimulatorConfig
) -> Label:
    plain = replace(rules, detailed_metrics=False)
    state, teacher = state.replace(driving_quality=None), teacher.replace(simulator=plain)
    return label(key, state, teacher, atlas, greedy=True)
