"""Rows and trends of drives whose figures are known."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.config import SimulatorConfig
from simulator.conventions import TRAIT_NAMES
from teacher.probes.catalogue import AGENTS, GOALS, PROBES, draw_trials, probe_atlas, probe_simulator
from teacher.probes.starts import start_trials
from teacher.sweep.behaviour import Behaviour
from teacher.sweep.figures import BEHAVIOURS, metrics_row, metrics_rows_of_parts
from teacher.sweep.trend import MEANT, spearman, trends

CONFIG = probe_simulator(SimulatorConfig(num_agents=AGENTS, num_goals=GOALS))
WORLDS, STEPS = 3, 4


@pytest.fixture(scope="module")
def final():
    """Three worlds of one agent each; the second has run one red light."""
    trials = draw_trials(PROBES["red_light"], WORLDS, 0)
    worlds = start_trials(trials, probe_atlas(), CONFIG)
    return worlds.replace(red_lights=worlds.red_lights.at[1, 0].set(1))


@pytest.fixture
def seen():
    """The first agent of each world drives: at 2 m/s (then 4) in world 0, 4 in 1, and in world 2 it stands."""
    shape = (STEPS, WORLDS, AGENTS)
    leaves = {name: np.zeros(shape) for name in Behaviour._fields}
    leaves["drives"] = np.zeros(shape, bool)
    leaves["drives"][..., 0] = True
    for name in ("gap_m", "clearance_m"):
        leaves[name] = np.full(shape, np.inf)
    leaves["limit"] = np.full(shape, 3.0)
    leaves["red_line"] = np.full(shape, -1)
    speed = leaves["speed"]
    speed[:, 0, 0], speed[2:, 0, 0], speed[:, 1, 0] = 2.0, 4.0, 4.0
    speed[..., 1:] = 99.0  # empty slots
    return Behaviour(**leaves)


def test_a_row_by_hand(seen, final):
    seen.gap_m[:, 0, 0], seen.gap_m[:, 2, 0] = 8.0, 1.0  # standing agents do not count
    seen.angle[:2, 0, 0], seen.angle[2:, 0, 0], seen.angle[:, 1, 0] = 0.1, 0.2, -0.1
    seen.offset_m[:, 0, 0], seen.offset_m[:, 1, 0] = 0.3, -0.6
    seen.red_line[1:3, 1, 0], seen.red_line[3, 1, 0], seen.red_line[0, 0, 0] = 7, 8, 7
    row = metrics_row(seen, final)
    assert set(row) == set(BEHAVIOURS)
    assert row["speed_mps"] == pytest.approx((3.0 + 4.0 + 0.0) / 3)
    assert row["moving_speed_mps"] == pytest.approx(3.5)
    assert row["excess_mps"] == pytest.approx((0.5 + 1.0 + 0.0) / 3)
    assert row["standing_share"] == pytest.approx(1 / 3)
    assert row["gap_m"] == pytest.approx(8.0)
    assert row["headway_s"] == pytest.approx((8 / 2 + 8 / 4) / 2)
    per_metre = (2 * 2.0 * 0.1 + 2 * 4.0 * 0.2 + 4 * 4.0 * 0.1) / (2 * 2.0 + 2 * 4.0 + 4 * 4.0)
    assert row["angle_deg"] == pytest.approx(np.degrees(per_metre))
    assert row["angle_std_deg"] == pytest.approx(np.degrees(np.std([0.1, 0.1, 0.2, 0.2, *[-0.1] * 4])))
    assert row["offset_m"] == pytest.approx(0.3)
    assert row["side_m"] == pytest.approx(-0.1)
    assert row["red_run_share"] == pytest.approx(1 / 3)  # lines 7 and 8 by one agent, 7 by another
    assert row["clearance_p05_m"] is None
    assert row["comfort_rate"] is None  # not watched in these worlds


def test_parts_are_of_different_worlds(seen, final):
    parts = metrics_rows_of_parts(seen, final, 16)
    assert [part["speed_mps"] for part in parts] == [3.0, 4.0, 0.0]
    assert [part["red_run_share"] for part in parts] == [None, None, None]


def test_ranks_by_hand():
    assert spearman([0, 1, 2, 3, 4], [1.0, 2.0, 4.0, 8.0, 9.0]) == pytest.approx(1.0)
    assert spearman([0, 1, 2, 3, 4], [9.0, 8.0, 3.0, 4.0, 1.0]) == pytest.approx(-0.9)  # 1 - 6 sum d^2 / 120
    assert spearman([0, 1, 2], [5.0, 5.0, 5.0]) is None
    assert spearman([0, 1, 2], [5.0, None, 6.0]) is None


def test_a_trend_needs_order_and_more_than_scatter():
    """Both behaviours rise in order by 1; the parts agree about the first only."""
    blank = dict.fromkeys(BEHAVIOURS)
    values = [0.0, 0.5, 1.0]
    rows = [blank | {"gap_m": value, "speed_mps": value} for value in values]
    parts = [
        [blank | {"gap_m": value + part, "speed_mps": value * 4.0 * (part - 1.0)} for part in range(4)]
        for value in values
    ]
    found = trends(values, rows, parts)
    assert found["gap_m"].rank_correlation == found["speed_mps"].rank_correlation == pytest.approx(1.0)
    assert found["gap_m"].change == pytest.approx(1.0)
    assert found["gap_m"].standard_error == pytest.approx(0.0)
    # changes of the parts: -4, 0, 4 and 8, whose standard deviation is (80 / 3)^0.5
    assert found["speed_mps"].standard_error == pytest.approx((80 / 3) ** 0.5 / 2)
    assert found["gap_m"].follows
    assert not found["speed_mps"].follows
    assert not found["goal_rate"].follows


def test_what_coefficients_are_meant_to_move_exists():
    assert {"collision", "lane_align"} <= set(MEANT) <= set(TRAIT_NAMES)
    assert {behaviour for behaviour, _ in MEANT.values()} <= set(BEHAVIOURS)
