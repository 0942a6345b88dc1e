"""Trajectories land where the camera sees the ground: straight ahead under the horizon's middle, nothing behind it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from gigapixel.pictures.drawn_paths import (
    NEAR_M,
    SPACING_M,
    Stroke,
    draw_from_above,
    draw_in_camera,
    ground_line,
    project_to_camera,
)
from gigapixel.pictures.student_view import (
    BEST_COLOUR,
    PLAN_COLOUR,
    WORST_COLOUR,
    label_stroke,
    plan_strokes,
    score_colours,
)
from renderer import CameraRig
from renderer.camera import Camera
from simulator.drawing.viewport import Viewport
from student.network.plan import Plan
from student.sub_scores import SUB_SCORES
from student.trajectory import Trajectory

RED = (255, 0, 0)
CAMERAS = (
    Camera("front", 1.5, 0.0, 1.5, 96, 54, 77.0),
    Camera("back", -0.5, 0.0, 1.5, 96, 54, 77.0, yaw_deg=180.0),
    Camera("left", 1.5, 0.0, 1.5, 96, 54, 77.0, yaw_deg=90.0),
)
RIG = CameraRig.from_cameras(CAMERAS, 54, 96)


def straight(step_m: float) -> np.ndarray:
    """Eight poses ahead, or behind for a negative step."""
    return np.stack([step_m * np.arange(1, 9), np.zeros(8), np.zeros(8)], axis=1)


def red_pixels(picture: Image.Image) -> np.ndarray:
    """Rows and columns that have become red, [pixels, 2]; everything else must have stayed black."""
    pixels = np.asarray(picture).astype(int)
    assert (pixels[..., 1:] == 0).all()
    return np.argwhere(pixels[..., 0] > 100)


def test_a_straight_plan_lands_on_the_column_of_the_horizon_s_middle() -> None:
    """Row by hand: a camera 1.5 m above the ground sees a point 10 m ahead of it 77 * 1.5 / 10 pixels below its
    middle."""
    pixels, depth = project_to_camera(np.array([[11.5, 0.0], [1e6, 0.0]]), RIG, "front")
    np.testing.assert_allclose(pixels[0], (48.0, 27.0 + 77.0 * 1.5 / 10.0), atol=1e-4)
    np.testing.assert_allclose(pixels[1], (48.0, 27.0), atol=1e-2)
    np.testing.assert_allclose(depth, (10.0, 1e6 - 1.5), rtol=1e-6)
    drawn = red_pixels(
        draw_in_camera(np.zeros((54, 96, 3), np.uint8), RIG, "front", [Stroke(straight(5.0), RED, 0.4)])
    )
    assert drawn[:, 0].max() == 53
    assert 27 <= drawn[:, 0].min() < 31
    assert drawn[:, 1].mean() == pytest.approx(47.5, abs=0.6)
    lowest, highest = ((drawn[:, 0] == row).sum() for row in (53, drawn[:, 0].min()))
    assert lowest > highest


def test_a_left_bend_is_drawn_on_the_left_at_any_size() -> None:
    poses = straight(5.0)
    poses[:, 1] = 0.02 * poses[:, 0] ** 2
    picture = draw_in_camera(np.zeros((108, 192, 3), np.uint8), RIG, "front", [Stroke(poses, RED, 0.4)])
    assert picture.size == (192, 108)
    drawn = red_pixels(picture)
    assert drawn[drawn[:, 0] < 70, 1].max() < 96


@pytest.mark.parametrize(
    ("camera", "step_m"), [("back", 5.0), ("front", -5.0), ("left", 5.0), ("front", 0.0)]
)
def test_what_lies_behind_a_camera_is_not_drawn(camera: str, step_m: float) -> None:
    """Ahead of the car is behind its rear camera, and in the plane of one that looks to the side."""
    stroke = Stroke(straight(step_m), RED, 0.3, ticked=True)
    picture = draw_in_camera(np.zeros((54, 96, 3), np.uint8), RIG, camera, [stroke])
    assert not len(red_pixels(picture))


def test_a_path_that_turns_back_is_drawn_as_far_as_the_camera_sees_it() -> None:
    """A half circle of 12 m radius to the left ends beside and behind the camera."""
    angle = np.linspace(0, 1.2 * np.pi, 9)[1:]
    poses = np.stack([12 * np.sin(angle), 12 * (1 - np.cos(angle)), angle], axis=1)
    line = ground_line(poses)
    assert (np.linalg.norm(np.diff(line, axis=0), axis=1) <= SPACING_M + 1e-9).all()
    np.testing.assert_allclose(line[0], 0.0)
    np.testing.assert_allclose(line[-1], poses[-1, :2])
    _, depth = project_to_camera(line, RIG, "front")
    assert (depth < NEAR_M).any()
    drawn = red_pixels(
        draw_in_camera(np.zeros((54, 96, 3), np.uint8), RIG, "front", [Stroke(poses, RED, 0.3)])
    )
    assert len(drawn)
    assert drawn[:, 0].min() >= 27
    assert drawn[:, 1].max() <= 50


def test_a_plan_from_above_begins_at_the_car_and_points_where_it_does() -> None:
    """Heading north from (100, 50), 20 m in a window of 100 m and 100 pixels: straight up from the middle."""
    view = Viewport(50.0, 100.0, 1.0, 100, 100)
    pose = np.array([100.0, 50.0, np.pi / 2])
    drawn = red_pixels(
        draw_from_above(Image.new("RGB", (100, 100)), view, pose, [Stroke(straight(2.5), RED, 2.0)])
    )
    assert drawn[:, 0].min() == pytest.approx(30, abs=1)
    assert drawn[:, 0].max() == pytest.approx(50, abs=1)
    assert drawn[:, 1].mean() == pytest.approx(49.5, abs=0.6)


def test_proposals_are_coloured_by_score_and_lie_below_the_choice() -> None:
    """Three proposals, of which the second is the best and the third the worst."""
    proposals = torch.from_numpy(np.stack([straight(1.0), straight(2.0), straight(3.0)]))[None].float()
    scores = torch.tensor([0.0, 2.0, -2.0])[None, :, None].repeat(1, 1, len(SUB_SCORES))
    chosen = Trajectory(proposals[:, 1])
    plan = Plan(chosen, torch.zeros(1, 12), torch.zeros(1, 4, 8), proposals, scores, torch.tensor([1]))
    strokes = plan_strokes(plan, "navsim_v2")
    assert [stroke.poses[0, 0] for stroke in strokes] == [3.0, 1.0, 2.0, 2.0]
    assert (strokes[0].colour, strokes[2].colour, strokes[3].colour) == (
        WORST_COLOUR,
        BEST_COLOUR,
        PLAN_COLOUR,
    )
    assert strokes[1].colour not in (WORST_COLOUR, BEST_COLOUR)
    alone = Plan(chosen, torch.zeros(1, 12), torch.zeros(1, 4, 8))
    assert [stroke.colour for stroke in plan_strokes(alone, "navsim_v2")] == [PLAN_COLOUR]
    assert label_stroke(chosen).colour != PLAN_COLOUR
    assert score_colours(np.zeros(2)) == [WORST_COLOUR] * 2
