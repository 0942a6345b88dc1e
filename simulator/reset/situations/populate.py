"""Draws the situations of a world, and makes its first agents take part in them."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from simulator.atlas.affine_variants import inverse, transformed
from simulator.atlas.edge_distance import corner_edge_distance
from simulator.atlas.road_atlas import RoadAtlas
from simulator.collision import colliding_pairs
from simulator.config import ROUTE_SPACING_M, SimulatorConfig
from simulator.reset.situations.blocked_lane import blocked_lane, stretch_aside
from simulator.reset.situations.cast import AGENTS_PER_SITUATION, CAST_SLOTS, NONE, STANDS, Cast, no_cast
from simulator.reset.situations.config import SITUATION_SHARES
from simulator.reset.situations.left_turn import left_turn
from simulator.reset.situations.merge import merge
from simulator.state import PARKED, WorldState

SITUATION_STREAM = 760_001
"""Folded into the key of a reset, so that everything else is drawn as without situations."""
_LENGTH_GAP_M, _WIDTH_GAP_M = 3.0, 0.4
"""Least gaps, along and across, between an agent of a situation and any other at the start."""
_SOON_M = 80.0
"""A parked car stands at most this far ahead of the agent behind it, in metres of any variant."""
_GOAL_CLEAR_M = 12.0
"""No goal lies within this distance of a parked car: small ones could not be reached beside it."""
_AWAY_M, _HOLD_M = 14.0, 8.0
"""Lengths over which a detour leaves or joins the lane, and of its part beside the lane before and after the middle of
the parked car."""


def draw_cast(
    key: Key[Array, ""],
    map_id: Int[Array, ""],
    map_matrix: Float[Array, "2 2"],
    atlas: RoadAtlas,
    config: SimulatorConfig,
) -> Cast:
    """The agents of the situations of one world, leaves [agents]: none, or several situations of one kind. The key is
    consumed."""
    kind_key, *keys = jax.random.split(key, 1 + max(1, config.num_agents // AGENTS_PER_SITUATION))
    shares = {name: getattr(config.situations, name) for name in SITUATION_SHARES}
    draws: dict[str, Callable[[Array], Cast]] = {
        "blocked_lane_share": lambda key: blocked_lane(key, map_id, map_matrix, atlas, config),
        "left_turn_share": lambda key: left_turn(key, map_id, atlas),
        "merge_share": lambda key: merge(key, map_id, atlas),
    }
    possible = [name for name in SITUATION_SHARES if shares[name] > 0]  # what is off is not compiled
    bounds = jnp.cumsum(jnp.array([shares[name] for name in possible]))
    kind = jnp.searchsorted(bounds, jax.random.uniform(kind_key), side="right")

    def draw(key: Array) -> Cast:
        options = [*(draws[name](key) for name in possible), no_cast()]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves)[kind], *options)

    casts = jax.vmap(draw)(jnp.stack(keys))
    first = CAST_SLOTS * jnp.arange(len(keys))[:, None]
    casts = casts.replace(
        blocked_by=jnp.where(casts.blocked_by >= 0, casts.blocked_by + first, -1),
        lights_off=casts.lights_off.any(),
    )
    absent = no_cast()

    def for_agents(leaf: Array, none: Array) -> Array:
        flat = leaf.reshape(-1)[: config.num_agents]
        return jnp.concatenate([flat, jnp.full(config.num_agents - len(flat), none[0], leaf.dtype)])

    return Cast(
        **{
            name: for_agents(getattr(casts, name), getattr(absent, name))
            for name in ("role", "lane", "along_m", "following", "most_mps", "blocked_by", "beside_m")
        },
        lights_off=casts.lights_off,
    )


def obstacle_m(cast: Cast, route: Float[Array, "agents stations 6"]) -> Float[Array, " agents"]:
    """Arc length (m) of the parked car on each agent's route; infinite for agents that none stands in the way of."""
    there = route[jnp.maximum(cast.blocked_by, 0), 0, :2]
    stations = min(round(_SOON_M / ROUTE_SPACING_M), route.shape[1])
    apart = jnp.linalg.norm(route[:, :stations, :2] - there[:, None], axis=-1)
    found = ROUTE_SPACING_M * jnp.argmin(apart, axis=1)
    return jnp.where(cast.blocked_by >= 0, found, jnp.inf)


def goals_beyond(goal_m: Float[Array, "agents goals"], obstacle: Float[Array, " agents"]) -> Array:
    """The arc lengths of the goals with none near the parked car: it and all that follow are moved on."""
    near = goal_m > (obstacle - _GOAL_CLEAR_M)[:, None]
    return jnp.where(near, goal_m + 2.0 * _GOAL_CLEAR_M, goal_m)


def with_detours(
    key: Key[Array, ""],
    cast: Cast,
    route: Float[Array, "agents stations 6"],
    obstacle: Float[Array, " agents"],
    map_matrix: Float[Array, "2 2"],
    share: float,
) -> Float[Array, "agents stations 6"]:
    """The routes, of which a ``share`` of those with a parked car on them lead around it: half of these on the middle
    of the lane beside, the others only a random part of the way there. The key is consumed.

    The partial ones lie between routes that can be followed and those that an agent has to leave, and let it learn the
    second from the first (ours).
    """
    draw, part = jax.random.uniform(key, (2, *obstacle.shape))
    takes = (draw < share) & jnp.isfinite(obstacle)
    determinant = map_matrix[0, 0] * map_matrix[1, 1] - map_matrix[0, 1] * map_matrix[1, 0]
    cos, sin = route[..., 2], route[..., 3]
    # The stretch depends on the direction on the map; along straight lanes one station stands for all.
    on_map = transformed(inverse(map_matrix), route[:, 0, 2:4])
    aside = jnp.sign(determinant) * cast.beside_m * stretch_aside(on_map, map_matrix)
    aside = aside * jnp.minimum(2.0 * part, 1.0)
    along = ROUTE_SPACING_M * jnp.arange(route.shape[1], dtype=jnp.float32)
    behind = along - jnp.where(takes, obstacle, 0.0)[:, None]

    def rise(x: Array) -> tuple[Array, Array]:
        x = jnp.clip(x, 0.0, 1.0)
        return x * x * (3.0 - 2.0 * x), 6.0 * x * (1.0 - x) / _AWAY_M

    out, out_slope = rise((behind + _HOLD_M) / _AWAY_M + 1.0)
    back, back_slope = rise((behind - _HOLD_M) / _AWAY_M)
    offset = jnp.where(takes, aside, 0.0)[:, None] * (out - back)
    slope = jnp.where(takes, aside, 0.0)[:, None] * (out_slope - back_slope)
    scale = jax.lax.rsqrt(1.0 + slope**2)
    x, y = route[..., 0] - offset * sin, route[..., 1] + offset * cos
    turned = (cos - slope * sin) * scale, (sin + slope * cos) * scale
    return jnp.concatenate([jnp.stack([x, y, *turned], axis=-1), route[..., 4:]], axis=-1)


def seat(state: WorldState, cast: Cast, atlas: RoadAtlas, config: SimulatorConfig) -> WorldState:
    """The initial state with the parked cars of the situations standing, and without the agents for which they leave no
    room: of two that are too close, the one of the later slot is left out."""
    takes_part, stands = cast.role != NONE, cast.role == STANDS
    scenario = state.scenario
    present = state.present | (stands & takes_part)
    off_road = (corner_edge_distance(state, atlas, config) < -config.offroad_margin_m).any(axis=1)
    present &= ~(takes_part & off_road)
    gaps = jnp.array([_LENGTH_GAP_M, _WIDTH_GAP_M, 0.0])
    close = colliding_pairs(state.position, state.yaw, scenario.size + gaps, present)
    kept = _first_come(close & (takes_part[:, None] | takes_part[None, :]), present)
    return state.replace(
        scenario=scenario.replace(control=jnp.where(stands, PARKED, scenario.control)),
        present=kept,
        active=state.active & kept & ~stands,
        spawned=state.spawned & kept & ~stands,
        speed=jnp.where(takes_part, jnp.minimum(state.speed, cast.most_mps), state.speed),
    )


def _first_come(
    close: Bool[Array, "agents agents"], present: Bool[Array, " agents"]
) -> Bool[Array, " agents"]:
    """The present agents without those that are close to a kept one of an earlier slot."""

    def one(index: Array, kept: Array) -> Array:
        return kept.at[index].set(kept[index] & ~(close[index] & kept & (numbers < index)).any())

    numbers = jnp.arange(len(present))
    return jax.lax.fori_loop(0, len(present), one, present)
