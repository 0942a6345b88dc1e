"""Every event is produced on purpose, by scripted drivers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from simulator.conventions import GREEN, RED
from teacher.probes.catalogue import PROBES
from teacher.probes.judging import passes
from teacher.probes.maps import BOX_M, PROBE_ARM_M
from teacher.probes.scenarios.blocked_lane import OBSTACLE_M

LINE_M = PROBE_ARM_M - BOX_M
ALL = [True, True, True]


def happened(name: str, run: Any) -> dict[str, list[bool]]:
    """Per event, and for `pass`, in which trials it is so; what is so in none is left out."""
    events = PROBES[name].judge(run)
    shown = {event: np.isfinite(moments).tolist() for event, moments in events.items()}
    shown["pass"] = passes(events).tolist()
    return {event: trials for event, trials in shown.items() if any(trials)}


def starts(trials: Any, agent: int = 0) -> np.ndarray:
    """Where an agent starts on its path, [trials] m."""
    return np.array([trial.drivers[agent].start_m for trial in trials])


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("bottleneck", "deadlock"),
        ("unprotected_turn", "never_turned"),
        ("blocked_lane", "waits"),
        ("red_light", "never_went"),
        ("four_way_stop", "deadlock"),
        ("deadlock", "deadlock"),
    ],
)
def test_standing_still_never_passes(name, verdict, random_trials, drive_script, script):
    run = drive_script(name, random_trials(name), script(0.0))
    assert happened(name, run) == {verdict: ALL}


def test_creeping_is_late_and_no_deadlock(random_trials, drive_script, script):
    for name in ("bottleneck", "deadlock"):
        run = drive_script(name, random_trials(name), script(0.4))
        assert happened(name, run) == {"late": ALL}


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("bottleneck", "collided"),
        ("blocked_lane", "collided"),
        ("red_light", "ran"),
        ("deadlock", "collided"),
    ],
)
def test_driving_straight_on_never_passes(name, verdict, random_trials, drive_script, script):
    run = drive_script(name, random_trials(name), script())
    assert happened(name, run) == {verdict: ALL}


def test_one_after_the_other_is_a_pass_at_the_bottleneck(random_trials, drive_script, script):
    trials = random_trials("bottleneck")
    one_by_one = script(10.0)
    for number, trial in enumerate(trials):
        order = np.argsort([-driver.start_m for driver in trial.drivers])
        for turn, agent in enumerate(order):
            one_by_one.hold_m[number, agent], one_by_one.until_s[number, agent] = -1.0, 2.0 + 2.5 * turn
    assert happened("bottleneck", drive_script("bottleneck", trials, one_by_one)) == {"pass": ALL}


def test_a_left_turn_waits_or_collides(random_trials, drive_script, script):
    name = "unprotected_turn"
    trials = random_trials(name)
    waits = script(9.0).hold(0, LINE_M - starts(trials), 20.0)
    waits.speed_mps[:, 0] = 5.0
    assert happened(name, drive_script(name, trials, waits)) == {"pass": ALL}
    conflict_m = LINE_M + BOX_M - starts(trials)  # where the turn meets the oncoming lane, about
    meets_s = (LINE_M + BOX_M - starts(trials, 1)) / 8.0
    rams = script(8.0)
    rams.speed_mps[:, 0] = conflict_m / meets_s
    assert happened(name, drive_script(name, trials, rams))["collided"] == ALL


def test_a_parked_car_can_be_passed_when_the_lane_beside_is_free(random_trials, drive_script, script):
    name = "blocked_lane"
    trials = random_trials(name)
    there_m = OBSTACLE_M - starts(trials)
    passing = script(8.0).stand(0, 21.0).swerve(0, there_m - 8.0, there_m + 8.0, 3.5)
    assert happened(name, drive_script(name, trials, passing)) == {"pass": ALL}


def test_the_light_is_red_first_and_green_once(random_trials, drive_script, script):
    run = drive_script("red_light", random_trials("red_light"), script(0.0))
    colour = run.trace.colour
    assert (colour[0] == RED).all()
    green = colour == GREEN
    first_s = run.time_s[green.argmax(axis=0)]
    assert ((first_s > 12.9) & (first_s < 16.6)).all()
    np.testing.assert_allclose(green.sum(axis=0) * run.timestep_s, 10.0, atol=0.11)


def test_waiting_for_green_passes(random_trials, drive_script, script):
    trials = random_trials("red_light")
    line_m = LINE_M - starts(trials)
    waits = script().hold(0, line_m - 1.0, 18.0)
    assert happened("red_light", drive_script("red_light", trials, waits)) == {"pass": ALL}
    waits_aside = waits.swerve(0, line_m - 6.0, line_m + 3.0, 3.5)  # gains nothing, so it is not drove_around
    assert happened("red_light", drive_script("red_light", trials, waits_aside)) == {"pass": ALL}


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_driving_around_the_stop_line_is_detected(side, random_trials, drive_script, script):
    """To the left through the oncoming lane; to the right through the neighbouring lane, or over the kerb where there
    is none."""
    trials = random_trials("red_light")
    line_m = LINE_M - starts(trials)
    around = script().swerve(0, line_m - 6.0, line_m + 3.0, side * 3.5)
    found = happened("red_light", drive_script("red_light", trials, around))
    assert "pass" not in found
    expected = ALL if side > 0 else [trial.variant == "neighbour_lane" for trial in trials]
    assert (
        found["drove_around"] == found["ran"] == expected
    )  # the simulator counts it as a red light run, too
    assert found.get("left_road", [False] * 3) == [not seen for seen in expected]


def test_an_all_way_stop_needs_full_stops_and_turns(random_trials, drive_script, script):
    name = "four_way_stop"
    trials = random_trials(name)
    in_turn, at_once, on = script(4.0), script(4.0), script(7.0)
    for agent in range(4):
        line_m = LINE_M - starts(trials, agent) - 1.0
        in_turn.hold(agent, line_m, 15.0 + 7.0 * agent)
        at_once.hold(agent, line_m, 15.0)
    assert happened(name, drive_script(name, trials, in_turn)) == {"pass": ALL}
    assert happened(name, drive_script(name, trials, at_once)) == {"collided": ALL}
    assert happened(name, drive_script(name, trials, on))["ran"] == ALL


def test_taking_turns_passes_at_the_unmarked_crossing(random_trials, drive_script, script):
    trials = random_trials("deadlock")
    in_turn = script()
    for agent in range(4):
        in_turn.stand(agent, 2.0 + 6.0 * agent)
    assert happened("deadlock", drive_script("deadlock", trials, in_turn)) == {"pass": ALL}


def test_other_drivers_are_judged_by_the_same_rules(random_trials, drive_script, script):
    """The intelligent driver model stops for red lights and waits behind parked cars, but does not look aside."""
    wanted = {"red_light": "pass", "blocked_lane": "waits", "deadlock": "collided"}
    for name, verdict in wanted.items():
        run = drive_script(name, random_trials(name), script(), idm=True)
        assert happened(name, run) == {verdict: ALL}


def test_trials_start_without_overlaps_and_do_not_depend_on_how_many_there_are(
    random_trials, drive_script, script
):
    for name in PROBES:
        trials = random_trials(name, seed=5)
        run = drive_script(name, trials, script())
        assert not run.trace.touching[0].any()
        assert not run.trace.offroads[1].any()
        more = PROBES[name].draw(np.random.default_rng([5, list(PROBES).index(name)]), 0)
        assert [d.start_m for d in more.drivers] == [d.start_m for d in trials[0].drivers]
