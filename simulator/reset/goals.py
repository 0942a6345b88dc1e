"""Goals of spawned agents: how far they can follow their routes, and where along them their goals lie."""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Key

from simulator.array_field import ArrayField
from simulator.config import ROUTE_SPACING_M
from simulator.dynamics.bicycle import MAX_STEERING
from simulator.state import turns, wheelbase

LEAST_DRIVE_M = 10.0
"""An agent whose road ends before its first goal is placed where the end is at least this far ahead."""


@struct.dataclass
class Goals:
    """The goals of a world's agents along their routes."""

    at_m: ArrayField  # [agents, goals] m along the route, ascending
    number: ArrayField  # [agents] int32: so many, from the first, are goals
    radius_m: ArrayField  # [agents] m


def steerable_m(
    route: Float[Array, "agents stations columns"], size: Float[Array, "agents 3"]
) -> Float[Array, " agents"]:
    """Arc length (m) up to which each body can follow its route: to the first six metres that curve more than its
    steering limit allows.

    At the steering limit the rear axle turns around a point ``wheelbase / tan(limit)`` to its side; the radius of the
    centre of the box, half a wheelbase ahead, is a little larger.
    """
    base = wheelbase(size)
    least_radius = jnp.sqrt((base / jnp.tan(MAX_STEERING)) ** 2 + (0.5 * base) ** 2)
    turn = turns(route[..., 2], route[..., 3])
    over_6_m = jnp.abs(turn[:, :-2] + turn[:, 1:-1] + turn[:, 2:])
    too_tight = over_6_m > 3 * ROUTE_SPACING_M / least_radius[:, None]
    first = jnp.where(too_tight.any(axis=1), jnp.argmax(too_tight, axis=1), route.shape[1])
    return ROUTE_SPACING_M * first.astype(jnp.float32)


def draw_goals_m(
    key: Key[Array, ""], speed_gain: Float[Array, " agents"], number: int, spacing_m: tuple[float, float]
) -> Float[Array, "agents goals"]:
    """Random arc lengths (m) of so many goals, ``spacing_m`` apart, of which some may lie beyond the end of the route.
    The key is consumed."""
    low, high = spacing_m
    pace = jnp.clip(speed_gain, 0.15, 1.0)[:, None]  # slow agents get nearer goals
    spacing = jax.random.uniform(key, (speed_gain.shape[0], number), minval=low, maxval=high) * pace
    return jnp.cumsum(spacing, axis=1)


def goals_on_route(
    goal_m: Float[Array, "agents goals"],
    radius_m: Float[Array, " agents"],
    length_m: Float[Array, " agents"],
    dead_end: Bool[Array, " agents"],
) -> Goals:
    """The goals that lie on routes of a length.

    The end of the route is the only goal of the agents whose road ends (``dead_end``) before the first one,
    LEAST_DRIVE_M or more ahead.
    """
    number = (goal_m <= length_m[:, None]).sum(axis=1).astype(jnp.int32)
    only = dead_end & (number == 0) & (length_m >= LEAST_DRIVE_M)
    return Goals(
        at_m=jnp.where(only[:, None], length_m[:, None], goal_m),
        number=jnp.where(only, 1, number),
        radius_m=jnp.where(only, jnp.minimum(radius_m, 0.5 * length_m), radius_m),
    )


def end_of_route(
    goals: Goals,
    which: Bool[Array, " agents"],
    length_m: Float[Array, " agents"],
    road_m: Float[Array, " agents"],
) -> Goals:
    """The goals with the end of the route as the only one of the agents ``which``: IDM drives to it. None where there
    is no road (``road_m`` 0)."""
    return goals.replace(
        at_m=jnp.where(which[:, None], length_m[:, None], goals.at_m),
        number=jnp.where(which, (road_m > 0.0).astype(jnp.int32), goals.number),
    )
