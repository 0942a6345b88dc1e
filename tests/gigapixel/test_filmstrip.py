"""A filmstrip shows the same start for every driver, what the car's front camera shows, and how it ended."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gigapixel.pictures.filmstrip import (
    ABOVE_HEIGHT,
    CAPTION,
    CELL_WIDTH,
    GAP,
    MOMENTS,
    TITLE,
    film,
    main,
    outcome,
    strip,
)
from gigapixel.pictures.world_snapshot import Moment, busiest_car
from renderer import render
from simulator.logs.scene_pack import ScenePackWriter
from student.checkpoint import save_policy
from student.network.encoders import EncoderConfig
from student.network.planner import PlannerConfig
from student.network.policy import PolicyConfig, StudentPolicy
from student.pixel_world import PixelWorld, PixelWorldConfig
from tests.recorded import recorded_scene

HEIGHT, WIDTH = 27, 48
SCALE = CELL_WIDTH // WIDTH


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with ScenePackWriter(tmp_path_factory.mktemp("packs") / "one.h5") as writer:
        writer.add(recorded_scene("east"))
    return writer.path


@pytest.fixture(scope="module")
def world(pack: Path) -> PixelWorld:
    """A recorded scene of 6 s with three cars."""
    config = PixelWorldConfig(
        maps=(str(pack),), num_worlds=1, num_agents=4, height_px=HEIGHT, width_px=WIDTH, teacher_greedy=True
    )
    return PixelWorld(config)


@pytest.fixture
def policy(torch_seed: None) -> StudentPolicy:
    encoder = EncoderConfig(features=16, channels=(8, 16))
    return StudentPolicy(PolicyConfig(encoder, PlannerConfig(hidden=32, layers=1), 4, HEIGHT, WIDTH)).eval()


def test_a_strip_begins_with_what_the_front_camera_shows(world: PixelWorld, policy: StudentPolicy) -> None:
    """Pixel by pixel, for the student and the teacher alike; then they go different ways."""
    picture = np.asarray(film(world, {"one": policy, "other": None}, seed=3, seconds=5.0))
    world.reset(3)
    agent = busiest_car(world.state)
    front = render(world.scene(torch.tensor([agent])), world.rig.select(["front"]), channels=("rgb",)).rgb[
        0, 0
    ]
    height = TITLE + CAPTION + HEIGHT * SCALE + GAP + ABOVE_HEIGHT + GAP
    assert picture.shape == (2 * height + GAP, GAP + MOMENTS * (CELL_WIDTH + GAP), 3)
    strips = [picture[row * height + TITLE + CAPTION : (row + 1) * height] for row in range(2)]
    for cells in strips:
        small = cells[: HEIGHT * SCALE : SCALE, GAP : GAP + CELL_WIDTH : SCALE]
        np.testing.assert_array_equal(small, front.numpy())
    start, later = slice(GAP, GAP + CELL_WIDTH), slice(-CELL_WIDTH, None)
    assert (strips[0][:, start] == strips[1][:, start]).all()
    assert not (strips[0][:, later] == strips[1][:, later]).all()


def test_captions_tell_the_time_and_the_end(world: PixelWorld) -> None:
    cells = strip(world, None, seed=3, seconds=5.0)
    assert [cell.caption.split(",")[0] for cell in cells] == [
        "0.0 s",
        "1.0 s",
        "2.0 s",
        "3.0 s",
        "4.0 s",
        "5.0 s",
    ]
    state, none = world.state, world.state.collisions * 0
    gone = state.replace(active=state.active & False, collisions=none, offroads=none)

    def told(state: object) -> str:
        return outcome(Moment(state, world.places.road_maps[0], world.atlas, world.simulator, ""), 0)

    slow = state.replace(active=state.active | True, speed=state.speed * 0 + 5.0)
    assert told(slow) == "18 km/h"
    assert told(slow.replace(active=gone.active, spawned=gone.active)) == "18 km/h", "it only replays its log"
    assert told(gone) == "has arrived"
    assert told(gone.replace(offroads=none + 1)) == "has left the road"
    assert told(gone.replace(offroads=none + 1, collisions=none + 1)) == "has crashed"


def test_a_strip_ends_with_its_recording(world: PixelWorld) -> None:
    """6 s are recorded: of moments 3 s apart the first three are shown."""
    assert len(strip(world, None, seed=3, seconds=15.0)) == 3


def test_the_command_draws_a_policy_from_a_file(
    pack: Path, policy: StudentPolicy, tmp_path: Path, repository: Path
) -> None:
    save_policy(policy, tmp_path / "policy.pt")
    arguments = ["--weights", str(tmp_path / "policy.pt"), "--map", str(pack), "--agents", "4"]
    output = tmp_path / "pictures" / "film.png"
    assert main([*arguments, "--seconds", "2.5", "--output", str(output)]) == 0
    with Image.open(output) as picture:
        assert picture.width == GAP + MOMENTS * (CELL_WIDTH + GAP)
    with pytest.raises(ValueError, match=r"--rig has 1 cameras \(front\) and the student of .* through 4"):
        main([*arguments, "--rig", str(repository / "configs/cameras/front.yaml"), "--output", str(output)])
    with pytest.raises(ValueError, match=r"--seconds 0\.0 must be above 0"):
        main([*arguments, "--seconds", "0", "--output", str(output)])
