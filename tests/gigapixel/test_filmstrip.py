"""A filmstrip shows the same initial state for every driver, the front camera of the car, and how its episode ended."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gigapixel.pictures.filmstrip import (
    CELL_WIDTH_PX,
    FILMSTRIP_STYLE,
    NUM_INSTANTS,
    TOP_DOWN_HEIGHT_PX,
    agent_status,
    comparison_filmstrip,
    draw_instant,
    drawn_plan,
    drive_and_draw,
    main,
)
from gigapixel.pictures.student_view import (
    BEST_COLOUR,
    CAMERA_WIDTH_PX,
    LABEL_COLOUR,
    PLAN_COLOUR,
    draw_student_view,
    plan_of_agent,
    view_of_agent,
)
from gigapixel.pictures.world_snapshot import WorldSnapshot, busiest_car
from renderer import render
from simulator.logs.scene_pack import ScenePackWriter
from student.batch import Label
from student.checkpoint import save_policy
from student.network.encoders import EncoderConfig
from student.network.planner import PlannerConfig
from student.network.policy import PolicyConfig, StudentPolicy
from student.world.config import PixelWorldConfig
from student.world.pixel_world import PixelWorld
from tests.recorded import recorded_scene

HEIGHT, WIDTH = 27, 48
SCALE = CELL_WIDTH_PX // WIDTH
GAP = FILMSTRIP_STYLE.gap_px
TEXT_HEIGHT = FILMSTRIP_STYLE.row_title.height_px + FILMSTRIP_STYLE.caption.height_px


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


def test_a_filmstrip_begins_with_the_image_of_the_front_camera(
    world: PixelWorld, policy: StudentPolicy
) -> None:
    """Pixel by pixel where the teacher drives; where the student does, its plan covers a small part of it and of the
    view from above. Later images differ."""
    picture = np.asarray(comparison_filmstrip(world, {"one": policy, "other": None}, seed=3, seconds=5.0))
    world.reset(3)
    agent = busiest_car(world.state)
    front = render(world.scene(torch.tensor([agent])), world.rig.select(["front"]), channels=("rgb",)).rgb[
        0, 0
    ]
    height = TEXT_HEIGHT + HEIGHT * SCALE + GAP + TOP_DOWN_HEIGHT_PX + GAP
    assert picture.shape == (2 * height + GAP, GAP + NUM_INSTANTS * (CELL_WIDTH_PX + GAP), 3)
    strips = [picture[GAP + row * height + TEXT_HEIGHT : GAP + (row + 1) * height] for row in range(2)]
    small = strips[1][: HEIGHT * SCALE : SCALE, GAP : GAP + CELL_WIDTH_PX : SCALE]
    np.testing.assert_array_equal(small, front.numpy())
    start, later = slice(GAP, GAP + CELL_WIDTH_PX), slice(-CELL_WIDTH_PX, None)
    differs = (strips[0][:, start] != strips[1][:, start]).any(-1)
    assert 0 < differs[: HEIGHT * SCALE].mean() < 0.1
    assert 0 < differs[HEIGHT * SCALE :].mean() < 0.1
    assert not differs[: HEIGHT * SCALE // 2].any(), "nothing is planned above the horizon"
    assert not (strips[0][:, later] == strips[1][:, later]).all()


def test_proposals_and_the_choice_are_drawn(world: PixelWorld, torch_seed: None) -> None:
    """In the colours that the title names; an agent that does not drive has no plan."""
    encoder = EncoderConfig(features=16, channels=(8, 16))
    planner = PlannerConfig("proposals", 16, 1, proposals=5, head_hidden=16, poses="residual")
    policy = StudentPolicy(PolicyConfig(encoder, planner, 4, HEIGHT, WIDTH)).eval()
    assert "5 proposals" in drawn_plan(policy)
    first = drive_and_draw(world, policy, seed=3, seconds=1.0)[0]
    world.reset(3)
    agent = busiest_car(world.state)
    without = draw_instant(world, agent, None)
    for drawn, plain in ((first.camera, without.camera), (first.top_down, without.top_down)):
        changed = np.asarray(drawn)[(np.asarray(drawn) != np.asarray(plain)).any(-1)].astype(int)
        for colour in (PLAN_COLOUR, BEST_COLOUR):
            assert (np.abs(changed - colour).max(-1) < 40).any(), colour
    view = view_of_agent(world, policy, agent)
    assert len(view.strokes("navsim_v2")) == 6
    for valid in (True, False):
        label = Label(view.plan.trajectory, torch.tensor([valid]), torch.zeros(1, dtype=torch.int64))
        strokes = replace(view, label=label).strokes("navsim_v2")
        assert (strokes[0].colour == LABEL_COLOUR) == valid
    assert draw_student_view(view).width > 4 * CAMERA_WIDTH_PX
    idle = next(other for other in range(4) if other not in world.ego_agents)
    assert plan_of_agent(world, policy, idle) is None
    with pytest.raises(ValueError, match=rf"agent {idle} does not drive now; those that do are \["):
        view_of_agent(world, policy, idle)


def test_captions_have_the_time_and_the_status(world: PixelWorld) -> None:
    instants = drive_and_draw(world, None, seed=3, seconds=5.0)
    assert [instant.caption.split(",")[0] for instant in instants] == [
        "0.0 s",
        "1.0 s",
        "2.0 s",
        "3.0 s",
        "4.0 s",
        "5.0 s",
    ]
    state, none = world.state, world.state.collisions * 0
    gone = state.replace(active=state.active & False, collisions=none, offroads=none)

    def status(state: object) -> str:
        return agent_status(
            WorldSnapshot(state, world.map_set.road_maps[0], world.atlas, world.simulator, None), 0
        )

    slow = state.replace(active=state.active | True, speed=state.speed * 0 + 5.0)
    assert status(slow) == "18 km/h"
    assert status(slow.replace(active=gone.active, spawned=gone.active)) == "18 km/h", (
        "an agent that replays its log"
    )
    assert status(gone) == "has arrived"
    assert status(gone.replace(offroads=none + 1)) == "has left the road"
    assert status(gone.replace(offroads=none + 1, collisions=none + 1)) == "has crashed"


def test_a_filmstrip_ends_with_its_log(world: PixelWorld) -> None:
    """The log lasts 6 s: of instants 3 s apart the first three are shown."""
    assert len(drive_and_draw(world, None, seed=3, seconds=15.0)) == 3


def test_the_command_draws_a_policy_from_a_file(
    pack: Path, policy: StudentPolicy, tmp_path: Path, repository: Path
) -> None:
    save_policy(policy, tmp_path / "policy.pt")
    arguments = ["--weights", str(tmp_path / "policy.pt"), "--map", str(pack), "--agents", "4"]
    output = tmp_path / "pictures" / "film.png"
    assert main([*arguments, "--seconds", "2.5", "--output", str(output)]) == 0
    with Image.open(output) as picture:
        assert picture.width == GAP + NUM_INSTANTS * (CELL_WIDTH_PX + GAP)
    with pytest.raises(ValueError, match=r"--rig has 1 cameras \(front\) and the student of .* has 4"):
        main([*arguments, "--rig", str(repository / "configs/cameras/front.yaml"), "--output", str(output)])
    with pytest.raises(ValueError, match=r"--seconds 0\.0 must be above 0"):
        main([*arguments, "--seconds", "0", "--output", str(output)])
