"""Calibration noise: its distribution, its geometry by hand, and rendering of different rigs in one frame."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch

from renderer import CalibrationNoise, Camera, CameraRig, Frame, Scene, render, render_each, sample_rigs
from renderer.calibration_noise import perturbed_rig

CAR, TRUCK = (12, -1, 0, 0.4, 4.5, 1.9, 1.5, 0), (16, 3, 0, 1.2, 8, 2.5, 3, 1)
POSES = ((0.0, 0.0, 0.0, 0.0), (2.0, 0.5, 0.0, 0.1), (-3.0, -1.0, 0.0, -0.2), (1.0, 2.0, 0.0, 0.3))
LARGE = CalibrationNoise(focal_share=0.2, position_m=0.3, rotation_deg=5.0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def same(first: Frame, second: Frame) -> bool:
    return first.channels.keys() == second.channels.keys() and all(
        torch.equal(first[channel], second[channel]) for channel in first.channels
    )


def changed(
    rig: CameraRig, focal: float = 1.0, offset: tuple = (0, 0, 0), turn_deg: tuple = (0, 0, 0)
) -> CameraRig:
    """`rig` with every camera changed alike."""
    rows = (rig.num_cameras, 3)
    log_focal = torch.full(rows[:1], math.log(focal))
    rotation = torch.deg2rad(torch.tensor(turn_deg, dtype=torch.float32))
    return perturbed_rig(rig, log_focal, torch.tensor(offset).float().expand(rows), rotation.expand(rows))


@pytest.mark.parametrize(
    "change, pixel",
    [
        ({}, (110, 45)),  # 10 px right of the middle (100, 50) and 5 px above it
        ({"focal": 1.1}, (111, 44.5)),  # ... 1.1 times as far from the middle
        ({"offset": (0, -1, 0)}, (100, 45)),  # the camera 1 m to the right has it straight ahead
        ({"offset": (0, 0, 0.5)}, (110, 50)),  # raised by 0.5 m, it is level with it
        ({"offset": (5, 0, 0)}, (120, 40)),  # half as far, twice as far from the middle
        ({"turn_deg": (0, 0, math.degrees(math.atan(0.1)))}, (100 + 100 * 0.2 / 0.99, None)),  # left about up
        ({"turn_deg": (0, math.degrees(math.atan(0.05)), 0)}, (None, 50 - 100 * 0.1 / 0.9975)),  # nose down
        ({"turn_deg": (90, 0, 0)}, (95, 40)),  # right side down: right is above, above is left
    ],
)
def test_a_point_moves_as_by_hand(
    one_camera: Callable[..., CameraRig], change: dict, pixel: tuple[float | None, float | None]
) -> None:
    """f = 100 px; the point is 10 m ahead of the camera, 1 m right and 0.5 m up. tan(a + b) is
    (tan a + tan b) / (1 - tan a tan b) where the camera turns."""
    rig = changed(one_camera(height=100, width=200, focal=100.0), **change)
    found, _ = rig.project(torch.tensor([[10.0, -1.0, 1.5]]))
    for got, expected in zip(found[0, 0].tolist(), pixel, strict=True):
        assert expected is None or abs(got - expected) < 1e-3, found


def test_a_camera_rotates_about_its_own_centre() -> None:
    rig = CameraRig.nuplan()
    turned = changed(rig, turn_deg=(3, -4, 5))
    assert torch.equal(turned.rig_from_camera[:, :3, 3], rig.rig_from_camera[:, :3, 3])
    assert torch.equal(turned.intrinsics, rig.intrinsics)


def test_a_principal_point_stays() -> None:
    camera = Camera("only", 0.0, 0.0, 1.0, 200, 100, (90.0, 110.0), centre_px=(80.0, 60.0))
    matrix = changed(CameraRig.from_cameras([camera], 100, 200), focal=1.2).intrinsics[0]
    torch.testing.assert_close(matrix, torch.tensor([[108.0, 0, 80], [0, 132, 60], [0, 0, 1]]))


def deviations(rigs: tuple[CameraRig, ...], nominal: CameraRig) -> torch.Tensor:
    """[rigs, cameras, 7]: log focal length, place in m, axis times angle in degrees (small angles)."""
    intrinsics = torch.stack([rig.intrinsics for rig in rigs]).double()
    pose = torch.stack([rig.rig_from_camera for rig in rigs]).double()
    focal = (intrinsics[..., 0, 0] / nominal.intrinsics[:, 0, 0].double()).log()
    turn = pose[..., :3, :3] @ nominal.rig_from_camera[:, :3, :3].double().transpose(1, 2)
    axis = torch.stack([turn[..., i, j] - turn[..., j, i] for i, j in ((2, 1), (0, 2), (1, 0))], dim=-1) / 2
    moved = pose[..., :3, 3] - nominal.rig_from_camera[:, :3, 3].double()
    return torch.cat([focal[..., None], moved, torch.rad2deg(axis)], dim=-1)


@pytest.mark.parametrize("common_share", [0.0, 0.3, 1.0])
def test_the_cars_spread_as_the_settings_say(common_share: float) -> None:
    """2,000 cars: standard deviations are the settings within 8 %, there is no bias, and cameras of one car
    correlate by common_share within 0.12: all some 5 sigma, with a fixed seed."""
    nominal, settings = CameraRig.nuplan(), torch.tensor([0.02] + 3 * [0.05] + 3 * [1.0], dtype=torch.float64)
    noise = CalibrationNoise(0.02, 0.05, 1.0, common_share)
    found = deviations(sample_rigs(nominal, noise, 2000, generator()), nominal) / settings
    assert (found.std(dim=(0, 1)) - 1).abs().max() < 0.08
    assert found.mean(dim=(0, 1)).abs().max() < 5 / math.sqrt(2000)
    first, second = found[:, 0], found[:, 2]
    correlation = (first * second).mean(0) / (first.std(0) * second.std(0))
    assert (correlation - common_share).abs().max() < 0.12


def test_rigs_are_determined_by_the_seed() -> None:
    rig = CameraRig.nuplan()
    first, again, other = (sample_rigs(rig, LARGE, 3, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first[2].intrinsics, again[2].intrinsics)
    assert torch.equal(first[2].rig_from_camera, again[2].rig_from_camera)
    assert not torch.equal(first[2].intrinsics, other[2].intrinsics)
    assert not torch.equal(first[0].intrinsics, first[1].intrinsics)


def test_without_noise_the_image_is_unchanged(street: Callable[..., Scene]) -> None:
    rig, scene = CameraRig.nuplan(18, 32), street(POSES)
    for drawn in sample_rigs(rig, CalibrationNoise(), 2, generator()):
        assert torch.equal(drawn.intrinsics, rig.intrinsics)
        assert torch.equal(drawn.rig_from_camera, rig.rig_from_camera)
        assert same(render(scene, drawn), render(scene, rig))


@pytest.mark.parametrize("backend", ["reference", "numba"])
def test_every_viewer_sees_through_its_own_rig(backend: str, street: Callable[..., Scene]) -> None:
    """Viewers whose rigs alternate, and one unused rig: each image equals that of a separate call."""
    scene = street(POSES)
    rigs = sample_rigs(CameraRig.nuplan(18, 32), LARGE, 4, generator())
    choice = torch.tensor([3, 0, 3, 1])
    together = render_each(scene, rigs, choice, backend=backend)
    for viewer, which in enumerate(choice.tolist()):
        alone = render(scene, rigs[which], backend=backend)
        for channel, pictures in together.channels.items():
            assert torch.equal(pictures[viewer], alone[channel][viewer]), (viewer, channel)
    assert not torch.equal(together.rgb[0], render(scene, rigs[0], backend=backend).rgb[0])


def test_channels_are_those_asked_for(one_world: Callable[..., Scene]) -> None:
    rigs = sample_rigs(CameraRig.nuplan(9, 16), LARGE, 2, generator())
    scene = one_world([CAR, TRUCK], poses=POSES)
    assert set(render_each(scene, rigs, torch.tensor([0, 1, 0, 1]), ("depth",)).channels) == {"depth"}


def test_a_scene_without_viewers_has_no_images(one_world: Callable[..., Scene]) -> None:
    rigs = sample_rigs(CameraRig.nuplan(9, 16), LARGE, 2, generator())
    scene = one_world([CAR], poses=POSES)
    fields = ("viewer_world", "viewer_box", "world_from_rig")
    without_viewers = dataclasses.replace(scene, **{field: getattr(scene, field)[:0] for field in fields})
    frame = render_each(without_viewers, rigs, torch.zeros(0, dtype=torch.int64))
    assert frame.rgb.shape == (0, 4, 9, 16, 3)


@pytest.mark.parametrize(
    "settings, sentence",
    [
        ({"focal_share": -0.1}, r"calibration_noise.focal_share=-0.1 must lie in \[0, 0.5\]"),
        ({"position_m": 2.0}, r"calibration_noise.position_m=2.0 must lie in \[0, 1\]"),
        ({"rotation_deg": math.nan}, r"calibration_noise.rotation_deg=nan must lie in \[0, 20\]"),
        ({"common_share": 1.5}, r"calibration_noise.common_share=1.5 must lie in \[0, 1\]"),
    ],
)
def test_noise_out_of_range_is_rejected(settings: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        CalibrationNoise(**settings)


def test_rigs_that_do_not_match_are_rejected(one_world: Callable[..., Scene]) -> None:
    scene, rig = one_world([CAR], poses=POSES[:2]), CameraRig.nuplan(9, 16)
    with pytest.raises(ValueError, match="num_rigs=0 must be at least 1"):
        sample_rigs(rig, LARGE, 0, generator())
    for rigs, choice, sentence in (
        ([], [0, 0], "rigs is empty"),
        ([rig, rig.resized(18, 16)], [0, 1], r"rigs\[1\] has .* = \(4, 18, 16\) and rigs\[0\] \(4, 9, 16\)"),
        ([rig], [0], "viewer_rig holds 1 rigs for the 2 viewers"),
        ([rig, rig], [0, 2], r"viewer_rig\[1\]=2 must be from 0 to 1"),
    ):
        with pytest.raises(ValueError, match=sentence):
            render_each(scene, rigs, torch.tensor(choice))
