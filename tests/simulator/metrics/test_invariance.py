"""What must not matter: how the world is turned, and which other worlds are in the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simulator.conventions import COAST
from simulator.metrics.summary import summarise
from simulator.rollout import step_worlds

EAST, WEST, NORTH = 0.0, np.pi, np.pi / 2
# Together they make every event happen: a stop sign run and a rear-end collision; wrong-way driving and a head-on
# collision; a failure to yield; a red light run; a departure from the road.
SITUATIONS = [
    [(-21.3, -1.75, EAST, 9.0), (-6.1, -1.75, EAST, 3.0), (40.0, 1.9, EAST, 7.0), (61.3, 1.6, WEST, 8.0)],
    [
        (-1.75, 13.2, -NORTH, 6.0),
        (-9.1, -1.75, EAST, 4.5),
        (1.75, -14.3, NORTH, 7.1),
        (70.2, -5.1, EAST, 11.0),
    ],
    [(21.0, -1.9, EAST, 10.0), (20.0, -4.6, 0.14, 10.0), (14.7, 1.75, WEST, 8.3), (-40.0, -5.3, 0.02, -1.7)],
]
STEPS = 40


def actions() -> jax.Array:
    """Some braking and steering, the same in every world; mostly none."""
    steps = np.full((STEPS, 4), COAST)
    steps[5:8, 2], steps[5:7, 3], steps[22:26, 2] = 4, 8, 1
    return jnp.asarray(steps, jnp.int32)


def drive(junction: Any, situation: int) -> tuple[Any, list[dict[str, np.ndarray]]]:
    """The last state, and every event of every step."""
    state, noted = junction.world(*SITUATIONS[situation]), []
    for action in actions():
        state, events = junction.advance(state, action)
        flags = {
            name: value for part in (events, events.driving_quality) for name, value in vars(part).items()
        }
        noted.append(
            {name: np.asarray(flags[name]) for name in flags if name not in ("driving_quality", "progress_m")}
        )
    return state, noted


def known_metrics(final: Any) -> dict[str, float]:
    values = summarise(final, 1, 1.0).to_json()
    return {name: value for name, value in values.items() if value is not None}


def test_the_situations_hold_every_event(junction: Any) -> None:
    seen: set[str] = set()
    for situation in range(len(SITUATIONS)):
        _, noted = drive(junction, situation)
        seen |= {name for step in noted for name, value in step.items() if value.any()}
    assert seen >= {
        "collision", "offroad", "red_light", "stop_sign", "at_fault", "failed_to_yield", "wrong_way", "ttc_violation",
        "uncomfortable",
    }  # fmt: skip


@pytest.mark.parametrize("angle", [0.7, -2.4])
def test_a_turned_world_gives_the_same_events_and_metrics(
    junction: Any, junction_at: Callable[[float], Any], angle: float
) -> None:
    turned = junction_at(angle)
    for situation in range(len(SITUATIONS)):
        straight_end, straight = drive(junction, situation)
        turned_end, other = drive(turned, situation)
        for step, (one, two) in enumerate(zip(straight, other, strict=True)):
            for name in one:
                np.testing.assert_array_equal(one[name], two[name], err_msg=f"{name}, step {step}")
        assert known_metrics(turned_end) == pytest.approx(known_metrics(straight_end), rel=1e-4)


def test_worlds_of_a_batch_never_touch_each_other(junction: Any) -> None:
    """Each world comes out of a batch as it does alone, wherever in the batch it is."""
    worlds = [junction.world(*situation) for situation in SITUATIONS]
    together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *reversed(worlds))
    advance = jax.jit(lambda state, action: step_worlds(state, action, junction.atlas, junction.config))
    for action in actions():
        together, _ = advance(together, jnp.broadcast_to(action, (len(worlds), 4)))
    for number in range(len(SITUATIONS)):
        alone, _ = drive(junction, number)
        within = jax.tree.map(lambda leaf, number=number: leaf[len(worlds) - 1 - number], together)
        for path, value in jax.tree_util.tree_leaves_with_path(alone):
            other = np.asarray(dict(jax.tree_util.tree_leaves_with_path(within))[path])
            if other.dtype.kind == "f":
                np.testing.assert_allclose(other, value, rtol=1e-4, atol=1e-4, err_msg=str(path))
            else:
                np.testing.assert_array_equal(other, value, err_msg=str(path))
