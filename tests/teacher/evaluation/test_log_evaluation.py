"""Evaluation on recorded scenes whose outcome is known: two on a straight road, one of whom may stand."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from simulator.conventions import CAR, CYCLIST
from simulator.logs.scene_pack import LoggedScene, ScenePackWriter
from teacher.evaluation import command, logs
from teacher.evaluation.clips.clip_selection import ARRIVAL, COLLISION, select_clips
from teacher.evaluation.clips.clip_video import FAILURE_COLOUR, write_clip
from teacher.evaluation.config import EvaluationConfig
from teacher.evaluation.episodes import EpisodeRunner, Episodes
from teacher.evaluation.logs import drive_packs, metrics_per_pack, pack_of_scene
from teacher.policy import load_policy
from tests.recorded import logged_scene, straight_road

STEPS = 61  # 6 s
TIME = 0.1 * np.arange(STEPS)
FREE, WAITING = (0, 1, 2), (10, 11)  # scenes by number; the name of the tenth is held out


def make_scene(number: int) -> LoggedScene:
    """A car at 10 m/s on a road of 150 m. In a waiting scene it brakes for a cyclist that stands until 3 s, and both
    drive on; else a second car drives ahead of it."""
    waits = number in WAITING
    slowed, started = np.minimum(TIME, 3.0), np.maximum(TIME - 3.0, 0.0)
    speed = np.stack([10.0 - 3.0 * slowed + 3.0 * started, 3.0 * started] if waits else [10.0 + 0 * TIME] * 2)
    along = np.concatenate([np.zeros((2, 1)), 0.05 * np.cumsum(speed[:, 1:] + speed[:, :-1], axis=1)], axis=1)
    position = np.zeros((2, STEPS, 3))
    position[..., 0] = np.array([[5.0], [31.5]]) + along
    return logged_scene(
        straight_road(150.0, 51), position, speed, kind=[CAR, CYCLIST if waits else CAR], name=f"scene {number}",
        track_ids=["one", "other"], ego_track=0 if number == 0 else -1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A pack of three scenes of free driving, and one of two in which a car stands in the way."""
    folder = tmp_path_factory.mktemp("logs")
    paths = (folder / "free.h5", folder / "waiting.h5")
    for path, numbers in zip(paths, (FREE, WAITING), strict=True):
        with ScenePackWriter(path) as writer:
            for number in numbers:
                writer.add(make_scene(number))
    return str(paths[0]), str(paths[1])


@pytest.fixture(autouse=True)
def cache(packs: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIGAPIXEL_CACHE", str(Path(packs[0]).parent / "cache"))


def config_of(packs: tuple[str, ...], driver: str) -> EvaluationConfig:
    return EvaluationConfig(maps=(), packs=packs, driver=driver, worlds=2, agents=4)


@pytest.fixture(scope="module")
def straight_on(packs: tuple[str, str], request: pytest.FixtureRequest) -> list[Episodes]:
    """All five scenes at constant velocity, two at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIGAPIXEL_CACHE", str(Path(packs[0]).parent / "cache"))
        drives: list[EpisodeRunner] = []

        class Watched(EpisodeRunner):
            def __init__(self, *arguments: object) -> None:
                super().__init__(*arguments)
                drives.append(self)

        patch.setattr(logs, "EpisodeRunner", Watched)
        parts, _ = drive_packs(
            load_policy("pretrained"), config_of(packs, "constant_velocity"), "self", record_states=True
        )
        assert [drive.compiled._cache_size() for drive in drives] == [1], "one program for all scenes"
        return parts


def test_every_scene_counts_once_and_figures_are_those_of_the_recording(
    packs: tuple[str, str], straight_on: list[Episodes]
) -> None:
    """At constant velocity free scenes are driven as recorded; in waiting scenes the car hits the cyclist."""
    metrics, rows, scenes = metrics_per_pack(straight_on, pack_of_scene(packs, "all"))
    assert (scenes, metrics.agents) == (5, 3 * 2 + 2 * 1)
    assert set(rows) == {"free.h5", "waiting.h5"}
    free, waiting = rows["free.h5"], rows["waiting.h5"]
    assert (free["agents"], free["goal_rate"], free["failure_rate"]) == (6, 1.0, 0.0)
    assert free["progress_ratio"] == pytest.approx(1.0, abs=0.07)  # goals 60 m away have a radius of 2 m
    assert free["km_per_incident"] is None
    assert (waiting["agents"], waiting["collision_rate"], waiting["at_fault_collision_rate"]) == (2, 1.0, 1.0)
    assert metrics.failure_rate == pytest.approx(2 / 8)
    assert metrics.comfort_rate == pytest.approx(1.0)


def test_the_intelligent_driver_model_stops_where_constant_velocity_crashes(packs: tuple[str, str]) -> None:
    parts, _ = drive_packs(load_policy("pretrained"), config_of(packs, "idm"), "self")
    metrics, rows, _ = metrics_per_pack(parts, pack_of_scene(packs, "all"))
    assert metrics.agents == 8, "the same agents as any other driver's"
    assert rows["waiting.h5"]["failure_rate"] == 0.0
    assert metrics.collision_rate == 0.0
    assert all(part.states is None for part in parts)


def test_best_and_worst_episodes_and_their_videos(straight_on: list[Episodes], tmp_path: Path) -> None:
    """The front starts at 7.25 m, the cyclist's rear is at 30.6 m: contact after 2.34 s, seen at 2.5 s."""
    best, worst = select_clips(straight_on, 3)
    assert [clip.event for clip in best] == [ARRIVAL] * 3
    assert [clip.event for clip in worst] == [COLLISION, COLLISION, ARRIVAL]
    assert {clip.map_name for clip in worst[:2]} == {"scene 10", "scene 11"}
    crash = worst[0]
    assert (crash.agent, crash.at_fault, crash.event_step) == (0, True, 10)
    assert (crash.first_step, crash.last_step) == (0, 18), "until two seconds after it"
    video, strip = write_clip(crash, "a crash\nsomewhere", tmp_path / "videos", "crash")
    with Image.open(video) as pictures:
        assert pictures.n_frames == 2 * 18 + 1
        first = np.asarray(pictures.convert("RGB"), int)
        pictures.seek(pictures.n_frames - 1)
        last = np.asarray(pictures.convert("RGB"), int)
    alarmed = [(np.abs(picture - FAILURE_COLOUR).sum(axis=-1) < 40).sum() for picture in (first, last)]
    assert alarmed[0] == 0
    assert alarmed[1] > 500, "a ring and a sign"
    assert strip.read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in video.parent.iterdir()) == ["crash.gif", "crash.png"]


def test_episodes_without_recorded_states_cannot_be_shown(straight_on: list[Episodes]) -> None:
    with pytest.raises(ValueError, match="driven without recorded states"):
        select_clips([dataclasses.replace(straight_on[0], states=None)], 1)


def test_the_command_writes_the_figures_of_a_pack(packs: tuple[str, str], tmp_path: Path) -> None:
    """The policy in the held-out scene, once for all vehicles and once among replayed ones."""
    output = tmp_path / "logs.json"
    arguments = ["--pack", ",".join(packs), "--split", "held_out", "--agents", "4", "--output", str(output)]
    assert (
        command.main(
            [*arguments, "--traffic", "self,replay", "--share", "1", "--videos", str(tmp_path / "v")]
        )
        == 0
    )
    values = json.loads(output.read_text())
    assert (values["traffic"], values["split"], values["scenes"], values["agents"]) == (
        "self",
        "held_out",
        1,
        1,
    )
    assert 0.0 <= values["failure_rate"] <= 1.0
    assert values["progress_ratio"] > 0.0
    assert list(values["by_traffic"]) == ["self", "replay"]
    assert list(values["by_pack"]) == ["waiting.h5"]
    names = sorted(path.name for path in (tmp_path / "v").glob("*.gif"))
    assert any(name.startswith("policy_self_worst_1") for name in names)
    assert any(name.startswith("policy_replay_worst_1") for name in names)


def test_impossible_packs_are_refused(packs: tuple[str, str], tmp_path: Path) -> None:
    free, waiting = packs
    for arguments, sentence in (
        ((str(tmp_path / "none.h5"),), "none.h5: no such file"),
        ((free, free), r"scene scene \d is in 2 of the packs"),
        ((free, "--split", "held_out"), "no scene belongs to the split 'held_out'"),
        ((waiting, "--traffic", "replay"), "scene 10 does not name its ego .* give --share"),
    ):
        files = [name for name in arguments if name.endswith(".h5")]
        rest = list(arguments[len(files) :])
        with pytest.raises((ValueError, OSError), match=sentence):
            command.main(["--pack", ",".join(files), *rest])
