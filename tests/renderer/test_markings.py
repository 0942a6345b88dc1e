"""Painted lines are unbroken to 60 m and as bright as the area that they cover."""

import numpy as np
import pytest
import torch
from scipy.ndimage import label

from renderer import CameraRig, ClassId, dashed_quads, strip_quads

FAR_M, WIDTH_M, CAMERA_HEIGHT_M = 60.0, 0.12, 1.5
ASIDE_M = (0.4, -1.75, 3.5, -5.25)
NUPLAN_FOCAL_PX = 96 * 1545 / 1920
HORIZON = 27


def front_camera():
    """nuPlan's view of 96 x 54 pixels, 1.5 m above the ground."""
    rig = CameraRig.nuplan(54, 96).select(["front"])
    pose = torch.tensor([[[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, CAMERA_HEIGHT_M], [0, 0, 0, 1]]])
    return CameraRig(rig.names, rig.intrinsics, pose, rig.height, rig.width)


def road(width_m, paint):
    return strip_quads([[1.0, 0, 0], [400.0, 0, 0]], width_m, paint)


@pytest.fixture
def coverage(drawn, one_world):
    """Share of each pixel that a mesh of white paint covers, [54, 96], measured in three pictures."""

    def measure(mesh):
        def picture(*meshes):
            scene = one_world(meshes=[road(40.0, ClassId.DRIVABLE), *meshes], draw_distance_m=400.0)
            return drawn(scene, front_camera()).rgb[0, 0].double().sum(-1)

        bare, full = picture(), picture(road(40.0, ClassId.MARKING_WHITE))
        contrast = full - bare
        return torch.where(contrast > 100, (picture(mesh) - bare) / contrast, 0.0).numpy()

    return measure


@pytest.mark.parametrize("aside_m", ASIDE_M)
def test_a_line_is_unbroken_to_sixty_metres(coverage, aside_m):
    """At 60 m the line is a seventh of a pixel wide."""
    covered = coverage(strip_quads([[1.0, aside_m, 0], [90.0, aside_m, 0]], WIDTH_M, ClassId.MARKING_WHITE))
    parts, _ = label(covered > 0.02, structure=np.ones((3, 3)))
    farthest = int(
        HORIZON + NUPLAN_FOCAL_PX * CAMERA_HEIGHT_M / FAR_M
    )  # the row that shows the ground 60 m ahead
    nearest = int(np.flatnonzero(covered.sum(1) > 0.02).max())
    assert nearest > HORIZON + 10
    line = parts == np.bincount(parts[parts > 0]).argmax()
    assert line[farthest : nearest + 1].any(axis=1).all()


@pytest.mark.parametrize("aside_m", ASIDE_M)
def test_a_line_is_as_bright_as_its_area(coverage, aside_m):
    """The sum over pixels is the area of the projected line, computed by hand, in each row and in total."""
    near_m = 12.0
    covered = coverage(
        strip_quads([[near_m, aside_m, 0], [FAR_M, aside_m, 0]], WIDTH_M, ClassId.MARKING_WHITE)
    )
    assert covered.sum() == pytest.approx(area(near_m, FAR_M), rel=0.05)
    for row in range(HORIZON + 2, HORIZON + 9):
        ahead = [NUPLAN_FOCAL_PX * CAMERA_HEIGHT_M / (line - HORIZON) for line in (row + 1, row)]
        rounding = 0.015  # of the colours of five pixels to whole numbers
        assert covered[row].sum() == pytest.approx(area(*ahead), rel=0.05, abs=rounding), row


def test_dashes_far_away_are_a_faint_line(coverage):
    """Three metres of paint, six without: a third as bright as a line, and not a pattern of dots."""
    dashed = coverage(
        dashed_quads([[1.0, -1.75, 0], [91.0, -1.75, 0]], WIDTH_M, 3.0, 6.0, ClassId.MARKING_WHITE)
    )
    rows = (HORIZON + 2, HORIZON + 4)
    far, near = (NUPLAN_FOCAL_PX * CAMERA_HEIGHT_M / (row - HORIZON) for row in rows)  # 58 and 29 m ahead
    painted = sum(
        area(max(begin, near), min(begin + 3, far))
        for begin in range(1, 91, 9)
        if near < begin + 3 and begin < far
    )
    assert dashed[rows[0] : rows[1]].sum() == pytest.approx(painted, rel=0.05)
    assert (dashed[rows[0] : rows[1]].max(axis=1) > 0.02).all()


def area(near_m, far_m):
    """Area of a line in the image, px^2: y rows below the horizon it is y / CAMERA_HEIGHT_M * WIDTH_M pixels wide."""
    low, high = NUPLAN_FOCAL_PX * CAMERA_HEIGHT_M / far_m, NUPLAN_FOCAL_PX * CAMERA_HEIGHT_M / near_m
    return WIDTH_M / CAMERA_HEIGHT_M * (high**2 - low**2) / 2
