"""Small images, computed by hand, on every backend."""

import dataclasses
import itertools
import math

import pytest
import torch
from torch.nn.functional import max_pool2d

from renderer import CHANNELS, ClassId, Face, GroundMesh, strip_quads
from renderer.palette import FOG_RGB, LIGHT_RGB, MATERIAL_RGB, box_material

NAN = math.nan


def upright(y_left, z_low, y_right, z_high, class_id, x=10.0):
    """A wall across the view, 10 m ahead: with f = 10 px, a metre is a pixel."""
    corners = [[x, y_left, z_low], [x, y_right, z_low], [x, y_right, z_high], [x, y_left, z_high]]
    return GroundMesh(torch.tensor([corners]), torch.tensor([int(class_id)]))


def test_asymmetric_picture(drawn, one_world, one_camera):
    """An F of white paint, a yellow bar, a box and a light: any flip, shift or swap of axes shows in these integers."""
    meshes = [
        upright(3, -3, 2, 5, ClassId.MARKING_WHITE),
        upright(2, 4, -2, 5, ClassId.MARKING_WHITE),
        upright(2, 1, 0, 2, ClassId.MARKING_WHITE),
        upright(-1, -2, -4, -1, ClassId.MARKING_YELLOW),
    ]
    boxes = [(10.5, -3.5, 2.0, 0.0, 1.0, 1.0, 1.0, 3)]
    lights = [(10.0, -2.5, 1.5, 0.0, 3)]
    frame = drawn(one_world(boxes, lights, meshes), one_camera())
    assert frame.class_id[0, 0].tolist() == [
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 3, 3, 3, 3, 3, 0, 0, 0],
        [0, 0, 3, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 3, 0, 0, 0, 0, 0, 13, 0],
        [0, 0, 3, 3, 3, 0, 0, 8, 0, 0],
        [1, 1, 3, 1, 1, 1, 1, 1, 1, 1],
        [1, 1, 3, 1, 1, 1, 1, 1, 1, 1],
        [1, 1, 3, 1, 1, 1, 4, 4, 4, 1],
        [1, 1, 3, 1, 1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    ]
    painted = frame.class_id[0, 0] > ClassId.GROUND
    torch.testing.assert_close(
        frame.depth[0, 0][painted], torch.full((int(painted.sum()),), 10.0), rtol=1e-6, atol=0
    )
    assert torch.isinf(frame.depth[0, 0, :5][~painted[:5]]).all()
    rows = torch.arange(5, 10) + 0.5
    level = (10.0 / (rows - 5))[:, None].expand(5, 10)  # eye height * f / rows below the horizon
    torch.testing.assert_close(frame.depth[0, 0, 5:][~painted[5:]], level[~painted[5:]])


def test_wall_has_one_depth_all_over(drawn, one_world, one_camera):
    """Depth is along the viewing axis, not along the ray."""
    frame = drawn(one_world([(22.0, 0, -50, 0, 4, 200, 100, 4)]), one_camera(24, 32, 12.0))
    torch.testing.assert_close(frame.depth, torch.full_like(frame.depth, 20.0), rtol=1e-6, atol=0)
    assert (frame.class_id == ClassId.STATIC).all()


def test_own_box_is_not_drawn(drawn, one_world, one_camera):
    own, other = (5.0, 0, 0, 0, 4, 2, 3, 0), (12.0, 0, 0, 0, 4, 2, 3, 1)
    hidden = drawn(one_world([own, other], viewer_box=0), one_camera())
    shown = drawn(one_world([own, other]), one_camera())
    assert int(ClassId.CAR) not in hidden.class_id
    assert hidden.class_id[0, 0, 4, 5] == ClassId.TRUCK
    assert shown.class_id[0, 0, 4, 5] == ClassId.CAR


def test_faces_of_every_kind_of_box_look_different(drawn, one_world, one_camera):
    """Heading is readable: front, back, left, right and top of one box differ by at least 25 grey levels somewhere."""
    yaw_towards_us = {Face.FRONT: math.pi, Face.BACK: 0.0, Face.LEFT: math.pi / 2, Face.RIGHT: -math.pi / 2}
    for kind in range(5):
        colours = {}
        for face, yaw in yaw_towards_us.items():
            frame = drawn(one_world([(8.0, 0, 0, yaw, 2, 2, 2, kind)]), one_camera(z_m=0.9))
            colours[face] = frame.rgb[0, 0, 5, 5].int()
        above = one_camera(z_m=9.0, pitch_deg=-90.0)
        colours[Face.TOP] = drawn(one_world([(0.0, 0, 0, 0, 2, 2, 2, kind)]), above).rgb[0, 0, 5, 5].int()
        for face, colour in colours.items():
            expected = torch.from_numpy(MATERIAL_RGB[box_material(kind, face)])
            assert (colour - expected).abs().max() < 16  # dimmed a little: it is 7 m away
            for other, another in colours.items():
                assert face == other or (colour - another).abs().max() >= 25, (kind, face, other)


def test_boxes_darken_with_distance(drawn, one_world, one_camera):
    """Brightness falls with every step until the fog starts, then colours approach the fog's."""
    rig = one_camera(11, 11, 40.0, z_m=0.5)
    colours = [
        drawn(one_world([(x + 0.5, 0, 0, 0, 1, 3, 3, 0)]), rig).rgb[0, 0, 5, 5].float()
        for x in (5, 15, 30, 45, 55, 97)
    ]
    brightness = [float(colour.sum()) for colour in colours[:5]]
    assert all(near > far + 3 for near, far in itertools.pairwise(brightness))
    assert (colours[5] - torch.from_numpy(FOG_RGB)).abs().max() < 16


def test_nothing_pops_at_the_draw_distance(drawn, one_world, one_camera):
    rig = one_camera(11, 11, 40.0, z_m=0.5)
    for draw_distance in (40.0, 100.0):
        just_in, just_out = (
            drawn(one_world([(draw_distance + x, 0, 0, 0, 1, 9, 9, 0)], draw_distance_m=draw_distance), rig)
            for x in (0.4, 0.6)
        )
        assert just_in.class_id[0, 0, 5, 5] == ClassId.CAR
        assert just_out.class_id[0, 0, 5, 5] <= ClassId.GROUND
        assert (just_in.rgb[0, 0, 5, 5].int() - just_out.rgb[0, 0, 5, 5].int()).abs().max() <= 2


@pytest.mark.parametrize("state, name", [(1, "GREEN"), (2, "YELLOW"), (3, "RED")])
def test_light_shows_its_state_to_its_approach_only(drawn, one_world, one_camera, state, name):
    rig = one_camera(40, 40, 100.0, z_m=5.0)
    approaching = drawn(one_world(lights=[(10.0, 0, 5.0, 0.0, state)]), rig)
    lit = approaching.class_id == ClassId.TRAFFIC_LIGHT
    expected = {key.name: colour for key, colour in LIGHT_RGB.items()}[name]
    inside = -max_pool2d(-lit[0].float(), 3, 1, 1) > 0  # its rim is mixed with what is behind
    assert (approaching.rgb[0][inside].int() - torch.tensor(expected)).abs().max() <= 1
    assert 85 <= int(lit.sum()) <= 100  # 5.5 px radius: 91 px for the twelve-sided lamp
    from_behind = drawn(one_world(lights=[(10.0, 0, 5.0, math.pi, state)]), rig)
    assert int(ClassId.TRAFFIC_LIGHT) not in from_behind.class_id
    assert int(ClassId.TRAFFIC_LIGHT) not in drawn(one_world(lights=[(10.0, 0, 5.0, 0.0, 0)]), rig).class_id


def test_paint_lies_in_a_strict_order_under_boxes(drawn, one_world, one_camera):
    """Coplanar layers: stop line over yellow over white over edge over crosswalk over road, whatever came first."""
    order = [
        ClassId.STOP_LINE,
        ClassId.DRIVABLE,
        ClassId.MARKING_YELLOW,
        ClassId.CROSSWALK,
        ClassId.MARKING_WHITE,
    ]
    order += [ClassId.ROAD_EDGE]
    width = {ClassId.DRIVABLE: 24.0, ClassId.CROSSWALK: 20.0, ClassId.ROAD_EDGE: 16.0}
    width |= {ClassId.MARKING_WHITE: 12.0, ClassId.MARKING_YELLOW: 8.0, ClassId.STOP_LINE: 4.0}
    meshes = [strip_quads([[2, 0, 0], [60, 0, 0]], width[paint], paint) for paint in order]
    frame = drawn(one_world(meshes=meshes), one_camera(60, 240, 200.0))
    for row in (31 + 3, 30 + 10, 59):  # 57, 19 and 7 m ahead
        middle = [
            class_id for class_id in frame.class_id[0, 0, row, :121].tolist() if class_id != ClassId.GROUND
        ]
        assert sorted(set(middle), key=middle.index) == sorted(set(middle), key=lambda paint: -width[paint])
        assert middle[-1] == ClassId.STOP_LINE
    with_box = drawn(one_world([(20.0, 0, 0, 0, 4, 30, 2, 0)], meshes=meshes), one_camera(60, 240, 200.0))
    assert (with_box.class_id[0, 0, 25:40] == ClassId.CAR).all()  # no paint behind a car shines through it


def test_bare_ground_occludes_nothing(drawn, one_world, one_camera):
    """A road 3 m below the viewer's level is drawn, though the level plane of bare ground lies in front of it."""
    sunk = strip_quads([[5, 0, -3], [90, 0, -3]], 20.0, ClassId.DRIVABLE)
    frame = drawn(one_world(meshes=[sunk]), one_camera())
    assert frame.class_id[0, 0, 7, 5] == ClassId.DRIVABLE
    torch.testing.assert_close(frame.depth[0, 0, 7, 5], torch.tensor(4 * 10 / 2.5))


def test_near_boxes_occlude_far_ones(drawn, one_world, one_camera):
    near, far = (10.0, 1.0, 0, 0, 2, 2, 3, 0), (20.0, 0.0, 0, 0, 2, 12, 3, 1)
    for boxes in ([near, far], [far, near]):
        frame = drawn(one_world(boxes), one_camera())
        assert frame.class_id[0, 0, 4].tolist() == [0, 0, 11, 10, 10, 11, 11, 11, 0, 0]


def test_a_camera_inside_a_box_sees_through_it(drawn, one_world, one_camera):
    frame = drawn(one_world([(0.0, 0, 0, 0, 4, 4, 4, 0), (10.0, 0, 0, 0, 2, 2, 3, 1)]), one_camera())
    assert int(ClassId.CAR) not in frame.class_id
    assert int(ClassId.TRUCK) in frame.class_id


def test_absent_boxes_and_lights_may_be_nan(drawn, one_world, one_camera):
    scene = one_world(
        [(NAN, NAN, NAN, NAN, NAN, NAN, NAN, -1), (10.0, 0, 0, 0, 2, 2, 3, 1)], [(NAN, NAN, NAN, NAN, 0)]
    )
    frame = drawn(scene, one_camera())
    assert sorted(frame.class_id.unique().tolist()) == [ClassId.SKY, ClassId.GROUND, ClassId.TRUCK]


def test_empty_world_and_no_viewers(drawn, one_world, one_camera):
    empty = drawn(one_world(), one_camera())
    assert sorted(empty.class_id.unique().tolist()) == [ClassId.SKY, ClassId.GROUND]
    scene = one_world()
    without_viewers = dataclasses.replace(
        scene,
        viewer_world=scene.viewer_world[:0],
        viewer_box=scene.viewer_box[:0],
        world_from_rig=scene.world_from_rig[:0],
    )
    assert drawn(without_viewers, one_camera()).rgb.shape == (0, 1, 10, 10, 3)


def test_sky_deepens_upwards(drawn, one_world, one_camera):
    column = drawn(one_world(), one_camera()).rgb[0, 0, :5, 5].float()
    assert (column[1:].sum(1) > column[:-1].sum(1)).all()
    assert (column[4] - torch.from_numpy(FOG_RGB)).abs().max() < 20


def test_same_scene_same_bytes(drawn, street, one_camera):
    scene, rig = street(), one_camera(20, 30, 20.0, z_m=1.5)
    one, two = drawn(scene, rig), drawn(scene, rig)
    for channel in CHANNELS:
        assert torch.equal(one[channel], two[channel])
