"""Every backend agrees with the reference, and the comparison detects errors."""

import dataclasses
import math

import pytest
import torch

from renderer import (
    CHANNELS,
    CameraRig,
    ClassId,
    Frame,
    GroundMesh,
    compare_frames,
    polygon_quads,
    render,
    ribbon_quads,
)
from renderer.parity import boundary_band
from tests.same_picture import assert_same

POSES = (
    (0.0, -1.75, 0.0, 0.0),
    (0.6, -2.6, 0.0, 0.3),  # a post cuts the near plane
    (38.0, -20.0, 0.0, 1.4),
    (55.0, 6.0, 0.4, -2.0),
    (70.0, -20.0, -1.0, 2.5),  # below the road
    (21.0, -1.75, 0.0, 0.0),  # the stop line fills whole pixels
)


@pytest.fixture(scope="module")
def street_frame(street):
    return render(street(POSES), CameraRig.nuplan(), backend="reference")


def test_street_from_everywhere(fast, street, street_frame):
    assert street_frame.class_id.unique().tolist() == sorted(ClassId)  # the scene shows every class
    rig = fast.some(CameraRig.nuplan())
    seen = [CameraRig.nuplan().names.index(name) for name in rig.names]
    expected = Frame({channel: street_frame[channel][:, seen] for channel in CHANNELS})
    assert_same(expected, fast(street(POSES), rig))


def test_tilted_and_skewed_cameras(fast, street, one_camera):
    rig = one_camera(32, 48, 30.0, z_m=1.6, yaw_deg=20.0, pitch_deg=-15.0, roll_deg=25.0)
    skewed = rig.intrinsics + torch.tensor([[0.0, 5.0, 3.0], [0.0, 4.0, -6.0], [0.0, 0.0, 0.0]])
    rig = dataclasses.replace(rig, intrinsics=skewed)
    scene = street(POSES)
    assert_same(render(scene, rig, backend="reference"), fast(scene, rig))


def test_vehicles_that_lean(fast, street):
    """Two vehicles with pitch or roll, whose horizons differ from camera to camera, and an upright one."""
    scene = street(POSES[:3])
    pitch, roll = math.radians(6.0), math.radians(-4.0)
    cos, sin = math.cos(pitch), math.sin(pitch)
    about_y = torch.tensor([[cos, 0, sin, 0], [0, 1, 0, 0], [-sin, 0, cos, 0], [0, 0, 0, 1]])
    cos, sin = math.cos(roll), math.sin(roll)
    about_x = torch.tensor([[1, 0, 0, 0], [0, cos, -sin, 0], [0, sin, cos, 0], [0, 0, 0, 1]])
    lean = torch.stack([about_y @ about_x, torch.eye(4), about_y])
    scene = dataclasses.replace(scene, world_from_rig=scene.world_from_rig @ lean)
    rig = fast.some(CameraRig.nuplan())
    assert_same(render(scene, rig, backend="reference"), fast(scene, rig))


def test_ground_that_is_not_flat(fast, one_world, one_camera, rng):
    """Quads twisted, folded, bow-tied or collapsed are drawn as their two triangles."""
    left = rng.normal(size=(12, 3)) * (1, 1, 0.4) + [[4 + 2 * k, 1, 0] for k in range(12)]
    right = rng.normal(size=(12, 3)) * (1, 1, 0.4) + [[4 + 2 * k, -1, 0] for k in range(12)]
    wild = torch.tensor(rng.normal(size=(40, 4, 3)) * 2 + (12, 0, 0.5), dtype=torch.float32)
    wild[30:35, 3] = wild[30:35, 2]  # triangles
    wild[35:] = wild[35:, :1]  # points
    meshes = [
        ribbon_quads(left, right, ClassId.DRIVABLE),
        GroundMesh(wild, torch.arange(40) % 6 + 2),
    ]
    scene, rig = one_world(meshes=meshes), one_camera(60, 80, 60.0)
    assert_same(render(scene, rig, backend="reference"), fast(scene, rig))


def test_turning_the_world_with_its_viewers_changes_nothing(drawn, street):
    rig = drawn.some(CameraRig.nuplan(27, 48))
    scene = street(POSES[1:3])
    before = drawn(scene, rig)
    for angle, east, north in ((2.0, 0.0, 0.0), (-0.7, 431.0, -777.0)):
        cos, sin = math.cos(angle), math.sin(angle)
        turn = torch.tensor([[cos, -sin, 0, east], [sin, cos, 0, north], [0, 0, 1, 12.0], [0, 0, 0, 1]])
        assert_same(before, drawn(turned(scene, turn, angle), rig))


def turned(scene, transform, angle):
    """The same scene elsewhere."""

    def move(points):
        return points @ transform[:3, :3].T + transform[:3, 3]

    ground = scene.ground
    mesh = GroundMesh(move(ground.quads), ground.class_id)
    return dataclasses.replace(
        scene,
        box_position=move(scene.box_position),
        box_yaw=scene.box_yaw + angle,
        light_position=move(scene.light_position),
        light_yaw=scene.light_yaw + angle,
        ground=type(ground)([mesh]),
        world_from_rig=transform @ scene.world_from_rig,
    )


def test_views_do_not_depend_on_their_batch(drawn, street, one_world):
    """Two worlds on two maps in one call give what two calls give."""
    rig = drawn.some(CameraRig.nuplan(18, 32))
    first = street(POSES[:2])
    square = polygon_quads([[2, -9, 0], [30, -9, 0], [30, 9, 0], [2, 9, 0]], ClassId.CROSSWALK)
    boxes = [(15.0, 2, 0, 1, 4, 2, 1.5, 1)] + [(0, 0, 0, 0, 1, 1, 1, -1)] * (first.box_class.shape[1] - 1)
    lights = [(20.0, -3, 4, 0, 2)] + [(0, 0, 0, 0, 0)] * (first.light_state.shape[1] - 1)
    second = one_world(boxes, lights, [square], poses=[(0, 0, 0, 0.1)])
    library = type(first.ground)([street_mesh_of(first), street_mesh_of(second)])
    batched = (
        "box_position",
        "box_size",
        "box_yaw",
        "box_class",
        "light_position",
        "light_yaw",
        "light_state",
    )
    both = dataclasses.replace(
        first,
        **{name: torch.cat([getattr(second, name), getattr(first, name)]) for name in batched},
        ground=library,
        map_id=torch.tensor([1, 0]),
        viewer_world=torch.tensor([1, 0, 1]),
        viewer_box=torch.tensor([0, -1, 0]),
        world_from_rig=torch.cat([first.world_from_rig[:1], second.world_from_rig, first.world_from_rig[1:]]),
    )
    together, one, two = drawn(both, rig), drawn(first, rig), drawn(second, rig)
    for channel in CHANNELS:
        expected = torch.cat([getattr(one, channel)[:1], getattr(two, channel), getattr(one, channel)[1:]])
        torch.testing.assert_close(getattr(together, channel), expected, rtol=1e-6, atol=0)


def street_mesh_of(scene):
    return GroundMesh(scene.ground.quads, scene.ground.class_id)


def test_comparison_sees_one_wrong_pixel_inside(street):
    frame = render(street(), CameraRig.nuplan())
    band = boundary_band(frame).reshape(frame.class_id.shape)
    view, camera, row, column = (~band).nonzero()[1000].tolist()
    for channel, value in (("class_id", 14), ("rgb", 255), ("depth", 1.0), ("instance_id", 99)):
        wrong = {name: frame[name].clone() for name in frame.channels}
        wrong[channel][view, camera, row, column] = value
        assert compare_frames(frame, Frame(wrong)).interior_differing == 1


def test_comparison_measures_the_band(street):
    frame = render(street(), CameraRig.nuplan())
    band = boundary_band(frame).reshape(frame.class_id.shape)
    brighter = frame.rgb.clone()
    brighter[band] = (brighter[band].int() + 40).clamp(max=255).to(torch.uint8)
    parity = compare_frames(frame, Frame({**frame.channels, "rgb": brighter}))
    assert parity.interior_differing == 0
    assert parity.band_differing_share > 0.99
    assert parity.bias > 30
    with pytest.raises(ValueError, match="cannot be compared"):
        compare_frames(frame, render(street(), CameraRig.nuplan(27, 48)))


@pytest.mark.cuda
def test_triton_draws_the_reference(street):
    """Compiled for the GPU of this machine."""
    scene, rig = street(POSES).to("cuda"), CameraRig.nuplan().to("cuda")
    assert_same(render(scene, rig, backend="reference"), render(scene, rig, backend="triton"))


@pytest.mark.cuda
def test_nvdiffrast_draws_the_reference(street):
    pytest.importorskip("nvdiffrast", reason="nvdiffrast is an optional install")
    scene, rig = street(POSES).to("cuda"), CameraRig.nuplan().to("cuda")
    assert_same(render(scene, rig, backend="reference"), render(scene, rig, backend="nvdiffrast"))
