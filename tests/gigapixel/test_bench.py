"""The benchmark harness measures what it says, and refuses settings it does not know."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
import torch

from gigapixel.bench.command import main, make_settings, read_settings
from gigapixel.bench.harness import WINDOWS, Measurement, Workload, measure
from gigapixel.bench.opengl_baseline import OpenGLViews
from gigapixel.bench.registry import WORKLOADS
from gigapixel.bench.renderer import RendererSettings, renderer_workload
from gigapixel.bench.renderer_scenes import STEPS_PER_EPISODE, SteppedWorlds, lanes_scene
from gigapixel.bench.simulator import SimulatorSettings, simulator_workload
from gigapixel.bench.student import StudentSettings, student_workload
from renderer import CameraRig, render


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


def test_the_median_tolerates_one_disturbed_window():
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
        ({"seed": -1}, "seed=-1 must be positive or 0"),
    ],
)
def test_impossible_settings_are_refused(values, sentence):
    with pytest.raises(ValueError, match=sentence):
        make_settings(SimulatorSettings, values, "bench.yaml")


def test_a_setting_that_is_0_by_itself_may_be_0():
    assert make_settings(SimulatorSettings, {"seed": 0}, "bench.yaml") == SimulatorSettings()


def test_an_unknown_room_in_a_file_is_refused(tmp_path):
    path = tmp_path / "bench.yaml"
    path.write_text("simulater: {worlds: 2}\n")
    with pytest.raises(ValueError, match="unknown room 'simulater'"):
        read_settings(str(path), "simulator")


def test_a_measurement_is_one_flat_json_object(tmp_path, capsys, monkeypatch):
    def build(settings: SimulatorSettings) -> Workload:
        workload = fake_workload(Clock(), [1.0], units=3)
        return replace(
            workload,
            settings=asdict(settings),
            variants={"part": lambda: 7},
            extra_metrics=lambda measured: {"full": measured.units},
        )

    monkeypatch.setitem(WORKLOADS, "simulator", (SimulatorSettings, build))
    output = tmp_path / "deep" / "simulator.json"
    assert main(["simulator", "--output", str(output), "--window_s=0.01", "--worlds", "1"]) == 0
    result = json.loads(output.read_text())
    assert result["agent_steps_per_s"] > 0
    assert result["part_per_s"] > 0
    assert result["full"] == result["units"]
    assert result["settings"]["worlds"] == 1
    assert {"device", "workload", "compile_s", "commit", "versions"} <= set(result)
    assert "agent-steps/s" in capsys.readouterr().out


def test_only_agents_that_drive_are_counted():
    settings = SimulatorSettings(
        maps="Town02", worlds=2, agents=4, steps=6, rounds=2, observation="compact", cpu_devices=1
    )
    workload = simulator_workload(settings)
    counts = [workload.call() for _ in range(4)]
    slots = settings.worlds * settings.agents * settings.steps * settings.rounds
    assert all(0 < count <= slots for count in counts)
    assert len(set(counts)) > 1  # random actions: now more, now fewer have crashed
    facts = workload.extra_metrics(Measurement(0.0, [1.0], 1, 1))
    assert {"dynamics", "step_reward"} == set(workload.variants)
    assert 0 < facts["agents_driving"] <= 1
    assert 0 < facts["lanes_filled"] <= 1


def test_the_lanes_scene_is_as_described():
    """Each of two cameras is 1.6 m up, among 8 boxes within 50 m and lanes within 300 m."""
    settings = RendererSettings(map="lanes", worlds=2, agents=8, size="64x32", cameras=1)
    scene, rig = lanes_scene(2, 8, 0, CameraRig.nuplan(32, 64).select(["front"]))
    assert scene.ground.quads.shape == (2000, 4, 3)
    assert scene.ground.quads[..., :2].abs().max() < 310
    assert scene.box_position[..., :2].abs().max() < 50
    assert scene.box_class.shape == (2, 8)
    assert float(rig.rig_from_camera[0, 2, 3]) == pytest.approx(1.6)
    workload = renderer_workload(settings)
    assert workload.call() == 2
    facts = workload.extra_metrics(Measurement(0.0, [1e5], 1, 2))
    assert facts["agent_steps_per_s"] == 1e5
    assert facts["written_gb_per_s"] == pytest.approx(1e5 * 64 * 32 * 3 / 1e9, abs=1e-3)
    assert 0 < facts["share_of_copying"] < 1


def test_worlds_are_stepped_before_they_are_drawn():
    settings = RendererSettings(map="Town02", worlds=1, agents=3, size="32x18", cameras=2, step=True)
    workload = renderer_workload(settings)
    assert workload.variants["with_step"]() == workload.call() == 6
    with pytest.raises(ValueError, match="step=True: the scene 'lanes' is not a world"):
        renderer_workload(replace(settings, map="lanes"))


def test_worlds_move_and_return_to_their_initial_state():
    worlds = SteppedWorlds("Town02", 1, 3, 0, "cpu")
    initial = worlds.scene().box_position.clone()
    for _ in range(STEPS_PER_EPISODE):
        worlds.step()
        assert not worlds.scene().box_position.equal(initial)
    moved = (worlds.scene().box_position - initial).norm(dim=-1).max()
    assert moved < 5, "one step after the initial state"


def test_opengl_draws_the_same_boxes_and_lanes():
    """Where OpenGL shows a box, so do we, but for edges; skipped without moderngl and EGL."""
    scene, rig = lanes_scene(1, 8, 0, CameraRig.nuplan(64, 128).select(["front", "back"]))
    try:
        opengl = OpenGLViews(scene, rig)
    except ValueError as error:
        pytest.skip(str(error))
    assert opengl.draw() == 2
    pictures = torch.from_numpy(opengl.images).float()
    frame = render(scene, rig)
    blue = (pictures[..., 2] > pictures[..., 0] + 40) & (pictures[..., 2] < 240)
    assert (blue != (frame.instance_id >= 0)).float().mean() < 0.02


def test_cameras_that_the_rig_lacks_are_refused():
    with pytest.raises(ValueError, match="cameras=5 must be from 1 to 4: front, front_left"):
        renderer_workload(RendererSettings(cameras=5))
    with pytest.raises(ValueError, match="threads=5000 must be from 0 to"):
        renderer_workload(RendererSettings(map="lanes", worlds=1, threads=5000))
    with pytest.raises(ValueError, match="--size 96 must be WIDTHxHEIGHT"):
        renderer_workload(RendererSettings(size="96"))


def test_the_rows_of_the_student_count_what_they_say(repository):
    """Two worlds of six agents, one decision of two steps, and one batch of eight samples."""
    config = str(repository / "configs" / "student" / "debug.yaml")
    workload = student_workload(StudentSettings(config=config, decisions=1))
    assert 0 < workload.call() <= 2 * 6 * 2
    counts = {name: call() for name, call in workload.variants.items()}
    assert 0 < counts["label"] <= 2 * 6
    assert 0 < counts["collect"] <= 2 * 6 * 2
    assert counts["learn"] == 8
    assert 0 < counts["whole"] <= 2 * 6 * 2
    whole = {"whole": Measurement(0.0, [counts["whole"] / 2.0], 1, counts["whole"])}  # one epoch in 2 s
    assert workload.final_metrics(whole) == {"whole_samples_per_s": 4.0}
    assert workload.extra_metrics(whole["whole"])["parameters"] > 0


def test_a_configuration_that_is_none_of_a_student_is_refused(repository):
    config = str(repository / "configs" / "teacher" / "debug.yaml")
    with pytest.raises(
        ValueError, match=r"debug\.yaml: expected the blocks model and data of a student's training"
    ):
        student_workload(StudentSettings(config=config))
