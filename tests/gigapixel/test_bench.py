"""The benchmark harness measures what it says, and refuses settings it does not know."""

from __future__ import annotations

import json

import pytest

from gigapixel.bench import WINDOWS, Workload, main, make_settings, measure, read_settings
from gigapixel.simulator_workload import SimulatorSettings


class Clock:
    """Time that passes only when a call says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def fake_workload(clock: Clock, durations: list[float], units: int) -> Workload:
    """Each call takes the next duration (the last one for ever) and does `units` units."""
    left = list(durations)

    def call() -> int:
        clock.now += left.pop(0) if len(left) > 1 else left[0]
        return units

    return Workload("counting", "agent_steps", "a clock", {}, call)


def test_first_call_and_warm_up_are_in_no_window():
    clock = Clock()
    measurement = measure(fake_workload(clock, [30.0, 7.0, 0.5], units=10), window_s=2.0, clock=clock)
    assert measurement.compile_s == 30.0
    assert measurement.windows_per_s == [20.0] * WINDOWS
    assert measurement.calls == 4 * WINDOWS
    assert measurement.units == 40 * WINDOWS


def test_the_median_forgives_one_disturbed_window():
    clock = Clock()
    workload = fake_workload(clock, [1.0, 1.0, 1.0, 50.0, 1.0], units=6)
    measurement = measure(workload, window_s=1.0, clock=clock)
    assert sorted(measurement.windows_per_s) == pytest.approx([6 / 50, 6.0, 6.0])
    assert measurement.per_s == 6.0


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"world": 3}, "unknown setting 'world'; expected maps, worlds"),
        ({"worlds": "many"}, "worlds='many' must be int"),
        ({"worlds": True}, "worlds=True must be int"),
        ({"worlds": 0}, "worlds=0 must be positive"),
    ],
)
def test_impossible_settings_are_refused(values, sentence):
    with pytest.raises(ValueError, match=sentence):
        make_settings(SimulatorSettings, values, "bench.yaml")


def test_an_unknown_room_in_a_file_is_refused(tmp_path):
    path = tmp_path / "bench.yaml"
    path.write_text("simulater: {worlds: 2}\n")
    with pytest.raises(ValueError, match="unknown room 'simulater'"):
        read_settings(str(path), "simulator")


def test_a_measurement_is_one_flat_json_object(tmp_path, repository, capsys):
    output = tmp_path / "deep" / "simulator.json"
    config = str(repository / "benchmarks" / "debug.yaml")
    assert (
        main(["simulator", "--config", config, "--output", str(output), "--cpu_devices=1", "--worlds", "1"])
        == 0
    )
    result = json.loads(output.read_text())
    assert result["agent_steps_per_s"] > 0
    assert result["settings"]["worlds"] == 1
    assert {"device", "workload", "compile_s", "commit", "versions"} <= set(result)
    assert {"dynamics_per_s", "step_reward_per_s"} <= set(result)
    assert 0 < result["agents_driving"] <= 1
    assert 0 < result["lanes_filled"] <= 1
    assert "agent-steps/s" in capsys.readouterr().out
