"""Stop signs, red and green lights, at a crossing made by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simulator import traffic_lights
from simulator.conventions import COAST, GREEN, OFF, RED, STOP, YELLOW, YIELD
from simulator.step import step

EASTWARD, WESTWARD, NORTHWARD = 0.0, np.pi, np.pi / 2
FRONT_M = 2.0  # from the centre of a box to its front
LINE_M = -10.0  # x of the stop sign's line


def ran(events: list[Any], field: str = "stop_sign") -> int:
    """How often the first agent was charged."""
    return int(sum(bool(getattr(step, field)[0]) for step in events))


def approach(junction: Any, gap_m: float, speed: float = 5.0) -> Any:
    """One agent whose front is ``gap_m`` before the stop sign's line."""
    return junction.world((LINE_M - gap_m - FRONT_M, -1.75, EASTWARD, speed))


def test_driving_past_a_stop_sign_is_charged_once(junction: Any) -> None:
    state, events = junction.coast(approach(junction, 5.8), 30)
    assert ran(events) == 1
    assert int(state.stop_signs[0]) == 1
    # 5.8 m at 0.5 m a step: the line is crossed in the twelfth.
    assert bool(events[11].stop_sign[0])


def test_a_halt_before_the_line_is_enough(junction: Any) -> None:
    state, events = junction.coast(approach(junction, 2.0, 0.0), 30, lambda n: [0.0 if n < 3 else 5.0])
    assert float(state.position[0, 0]) > LINE_M
    assert ran(events) == 0


def test_who_has_stopped_may_creep_to_the_line(junction: Any) -> None:
    _, events = junction.coast(approach(junction, 3.5, 0.0), 80, lambda n: [0.0 if n < 2 else 0.6])
    assert ran(events) == 0


def test_slowing_down_is_no_halt(junction: Any) -> None:
    _, events = junction.coast(approach(junction, 2.0, 0.3), 100, lambda n: [0.3])
    assert ran(events) == 1


def test_a_halt_too_far_away_does_not_count(junction: Any) -> None:
    """In a queue behind others: one has to stop again at the line."""
    _, events = junction.coast(approach(junction, 4.5, 0.0), 40, lambda n: [0.0 if n < 3 else 5.0])
    assert ran(events) == 1


def test_who_backs_out_has_to_halt_again(junction: Any) -> None:
    def speeds(step: int) -> list[float]:
        return [0.0] if step < 2 else [-2.0] if step < 12 else [5.0]  # 2 m back, from 3 m to 5 m

    _, events = junction.coast(approach(junction, 3.0, 0.0), 40, speeds)
    assert ran(events) == 1


def test_a_halt_counts_for_one_crossing(junction: Any) -> None:
    """Halt, cross, go back, cross again without halting: the second crossing is charged."""

    def speeds(step: int) -> list[float]:
        return [0.0] if step < 2 else [3.0] if step < 8 else [-2.0] if step < 18 else [3.0]

    _, events = junction.coast(approach(junction, 1.0, 0.0), 40, speeds)
    assert ran(events) == 1


def test_the_sign_is_for_its_own_direction(junction: Any) -> None:
    _, events = junction.coast(junction.world((0.0, 1.75, WESTWARD, 8.0)), 40)
    assert ran(events) == 0


@pytest.mark.parametrize(
    ("colour", "charged"),
    [
        (RED, True),
        (GREEN, False),
        (YELLOW, False),
        (OFF, False),
    ],
)
def test_everybody_is_charged_on_red_and_nobody_otherwise(junction: Any, colour: int, charged: bool) -> None:
    """Both lit approaches of the crossing, whichever phase of theirs it is."""
    approaches = {1: (12.5, 1.75, WESTWARD, 8.0), 2: (1.75, -12.5, NORTHWARD, 8.0)}
    for stop, agent in approaches.items():
        world = junction.world(agent)
        if colour == OFF:
            off = world.scenario.replace(lights_on=world.scenario.lights_on & False)
            world = world.replace(scenario=off)
        steps = jnp.arange(400)
        shown = jax.vmap(
            lambda step, world=world, stop=stop: traffic_lights.light_states(
                world.replace(step=step), jnp.array([stop]), junction.atlas, junction.config
            )[0]
        )(steps)
        assert (shown == colour).any()
        world = world.replace(step=steps[jnp.argmax(shown == colour)])
        _, events = junction.coast(world, 1)
        assert (ran(events, "red_light") == 1) is charged
        assert ran(events) == 0


def at_red(junction: Any, agent: tuple[float, float, float, float]) -> Any:
    """A world at a moment when the northward light has just turned red."""
    world = junction.world(agent)
    shown = jax.vmap(
        lambda step: traffic_lights.light_states(
            world.replace(step=step), jnp.array([2]), junction.atlas, junction.config
        )[0]
    )(jnp.arange(400))
    return world.replace(step=jnp.argmax(shown == RED).astype(jnp.int32))


def test_driving_around_a_red_light_is_running_it(junction: Any) -> None:
    """The route crosses the line; the agent passes beside it, over the oncoming lane or the pavement."""
    world = at_red(junction, (1.75, -12.5, NORTHWARD, 8.0))
    for aside in (-3.5, 3.5):
        beside = world.replace(position=world.position.at[0, 0].add(aside))
        _, events = junction.coast(beside, 1)
        assert ran(events, "red_light") == 1


def test_a_light_of_somebody_elses_lane_is_not_ones_own(junction: Any) -> None:
    world = at_red(junction, (-1.75, -12.5, NORTHWARD, 8.0))  # its route lies in the other lane as well
    _, events = junction.coast(world, 1)
    assert ran(events, "red_light") == 0


def test_lit_junctions_can_become_all_way_stops(junction: Any) -> None:
    """With a share of 1 every lit line asks for a halt, its light is off, and who drives on is charged for the sign."""
    config = dataclasses.replace(junction.config, all_way_stop_share=1.0)
    world = junction.world((1.75, -15.0, NORTHWARD, 8.0))
    lines = jnp.arange(4)
    asked = traffic_lights.line_states(world, lines, junction.atlas, config)
    np.testing.assert_array_equal(asked, [STOP, STOP, STOP, YIELD])
    assert not traffic_lights.light_states(world, lines, junction.atlas, config).any()
    advance = jax.jit(lambda state: step(state, jnp.full(4, COAST, jnp.int32), junction.atlas, config))
    charged = 0
    for _ in range(8):  # 0.8 m a step: the front passes the line in the fourth
        world, events = advance(world)
        charged += int(events.stop_sign[0])
        assert not events.red_light[0]
    assert charged == 1
