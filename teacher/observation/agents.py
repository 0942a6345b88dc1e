"""Observation of the other agents around each agent."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from simulator.conventions import OBSERVED_LEVEL_GAP_M
from simulator.neighbours import nearest_others
from simulator.state import WorldState, nearest_station, route_rows
from teacher.observation.ego_frame import POSITION_SCALE_M, Column, EgoFrame, Layout, stack_columns
from teacher.observation.occlusion import View, first_true, visible

OTHERS_WIDTH, DERIVED_WIDTH = 12, 6
CONFLICT_M = tuple(4.0 * i for i in range(16))
"""Distances ahead on the route to which the positions of other agents are compared: evenly spaced from 0, a power of
two of them."""
SPEED_SCALE_MPS = 10.0


_AGENT_LAYOUT = Layout(
    pairs=(POSITION_SCALE_M, 1.0, SPEED_SCALE_MPS),
    plain=(10.0, 3.0, SPEED_SCALE_MPS, 10.0, 4.0, 1.0),
    relative=(True, False, True, *[False] * 6),
)
"""Scales of the columns of `_table`, and which of them are relative to the observing agent."""


def _table(state: WorldState, frame: EgoFrame) -> Float[Array, "agents 12"]:
    """x, y (m), cos and sin of the yaw, velocity x, y (m/s), then length, width (m), speed (m/s), time at standstill
    (s, at most 10), acceleration (m/s2), yaw rate (rad/s, clipped to [-1, 1])."""
    turn = state.lateral_acceleration / jnp.maximum(jnp.abs(state.speed), 1.0)
    columns = [
        *(frame.x, frame.y, frame.cos, frame.sin, state.speed * frame.cos, state.speed * frame.sin),
        *(state.scenario.size[:, 0], state.scenario.size[:, 1], state.speed),
        *(jnp.minimum(state.stopped_s, 10.0), state.acceleration, jnp.clip(turn, -1.0, 1.0)),
    ]
    return jnp.stack(columns, axis=1)


def observe_others(
    state: WorldState,
    frame: EgoFrame,
    count: int,
    range_m: float,
    derived: bool,
    hide_occluded: bool = False,
    view: View | None = None,
) -> tuple[Float[Array, "agents count columns"], Bool[Array, "agents count"]]:
    """The nearest ``count`` agents within ``range_m`` and on the same level, and a mask of the slots that hold one.

    Columns: x, y, cos, sin, relative velocity x, y, length, width, speed, time at standstill, acceleration, yaw rate;
    with ``derived`` also `_on_route` (4) and `_closest_approach` (2). The derived columns follow from the others and
    the route, but a network of a few ten thousand weights learns to yield only with them. ``hide_occluded`` leaves out
    agents that others occlude, and then ``view`` those in no camera's view; see `teacher.observation.occlusion`.
    """
    squared = (frame.x[:, None] - frame.x) ** 2 + (frame.y[:, None] - frame.y) ** 2
    rise = jnp.abs(frame.z[:, None] - frame.z)
    in_range = state.present & (squared < range_m**2) & (rise < OBSERVED_LEVEL_GAP_M)
    candidates = min(2 * count, state.yaw.shape[0] - 1) if hide_occluded else count
    index, mask = nearest_others(state.position[:, :2], in_range, candidates)
    if hide_occluded:  # the visible ones, nearest first
        slots, mask = first_true(visible(state, index, mask, view), count)
        index = jnp.take_along_axis(index, slots, axis=1)
    table = _table(state, frame)
    picked, swapped = (
        t.at[index].get(mode="promise_in_bounds") for t in (table, table[:, _AGENT_LAYOUT.swapped()])
    )
    others = _AGENT_LAYOUT.to_ego_frame(picked, swapped, table, frame.matrix, mask)
    if not derived:
        return others, mask
    x, y, cos, sin, east, north = (picked[..., column] for column in range(6))
    ahead = _closest_approach(
        x - frame.x[:, None], y - frame.y[:, None], east - table[:, None, 4], north - table[:, None, 5]
    )
    return jnp.concatenate(
        [others, stack_columns(*_on_route(state, x, y, cos, sin), *ahead, mask=mask)], axis=-1
    ), mask


def _on_route(
    state: WorldState, other_x: Column, other_y: Column, other_cos: Column, other_sin: Column
) -> tuple[Column, ...]:
    """Positions of others relative to the own route ahead: arc length along it (/ POSITION_SCALE_M), lateral offset (/
    5 m, left positive, clipped to [-2, 2]), cos and sin of their heading relative to it, all at the nearest of the
    route points CONFLICT_M ahead."""
    station = nearest_station(state.scenario, state.route_m[:, None] + jnp.array(CONFLICT_M))
    x, y, cos, sin, _, _ = jnp.moveaxis(route_rows(state.scenario, station), -1, 0)
    # The index of a point is stored in the lowest bits of its squared distance, so that a minimum over integers is an
    # argmin in one pass. It changes the squared distance by less than 2e-6 of its value.
    nearest = jnp.full(other_x.shape, jnp.iinfo(jnp.int32).max)
    for number in range(len(CONFLICT_M)):
        squared = (other_x - x[:, number, None]) ** 2 + (other_y - y[:, number, None]) ** 2
        bits = jax.lax.bitcast_convert_type(squared, jnp.int32)
        nearest = jnp.minimum(nearest, (bits & -len(CONFLICT_M)) | number)
    point = nearest & (len(CONFLICT_M) - 1)
    x, y, cos, sin = (jnp.take_along_axis(column, point, axis=1) for column in (x, y, cos, sin))
    gap_x, gap_y = other_x - x, other_y - y
    along = point * ((CONFLICT_M[1] - CONFLICT_M[0]) / POSITION_SCALE_M)
    left = jnp.clip((gap_y * cos - gap_x * sin) / 5.0, -2.0, 2.0)
    return along, left, other_cos * cos + other_sin * sin, other_sin * cos - other_cos * sin


def _closest_approach(x: Column, y: Column, east: Column, north: Column) -> tuple[Column, Column]:
    """At constant velocities: time until the centres are closest (/ 4 s, at most 2), and their distance then (/ 10 m,
    at most 2). ``x``, ``y`` are offsets (m), ``east``, ``north`` relative velocities (m/s), all in one frame."""
    closing = -(x * east + y * north) / jnp.maximum(east**2 + north**2, 0.01)
    time = jnp.clip(closing, 0.0, 8.0)
    distance = jnp.sqrt((x + time * east) ** 2 + (y + time * north) ** 2)
    return time / 4.0, jnp.minimum(distance / 10.0, 2.0)
