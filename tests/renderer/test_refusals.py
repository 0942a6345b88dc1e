"""Scenes and backends that cannot be drawn are rejected with an error message that names the field and the remedy."""

import dataclasses
import logging
import math
import sys

import pytest
import torch

from renderer import CameraRig, render
from renderer.render import automatic_backend


def spoil(scene, field, index, value):
    """The scene with one wrong entry."""
    tensor = getattr(scene, field).clone()
    tensor[index] = value
    return dataclasses.replace(scene, **{field: tensor})


@pytest.mark.parametrize(
    "field, index, value, sentence",
    [
        ("box_position", (0, 1, 2), math.nan, r"Scene.box_position\[0, 1\] is not finite"),
        ("box_yaw", (0, 2), math.inf, r"Scene.box_yaw\[0, 2\] is not finite"),
        ("box_size", (0, 1, 0), -4.0, r"Scene.box_size\[0, 1\]=\[-4.0, .*\] must be above 0 m"),
        (
            "box_size",
            (0, 1, 2),
            0.0,
            r"must be above 0 m in length, width and height; an absent box has box_class -1",
        ),
        ("box_size", (0, 1, 1), math.nan, r"Scene.box_size\[0, 1\] is not finite"),
        ("box_class", (0, 3), 5, r"Scene.box_class\[0, 3\]=5 must be from -1 to 4"),
        ("light_position", (0, 0, 1), math.nan, r"Scene.light_position\[0, 0\] is not finite"),
        ("light_state", (0, 0), 4, r"Scene.light_state\[0, 0\]=4 must be from 0 to 3"),
        ("map_id", (0,), 1, r"Scene.map_id\[0\]=1 must be from 0 to 0"),
        ("viewer_world", (0,), 7, r"Scene.viewer_world\[0\]=7 must be from 0 to 0"),
        ("viewer_box", (0,), 99, r"Scene.viewer_box\[0\]=99 must be from -1 to 10"),
        ("world_from_rig", (0, 1, 3), math.nan, r"Scene.world_from_rig\[0\] is not finite"),
        ("world_from_rig", (0, 1, 1), 3.0, r"Scene.world_from_rig\[0\] is not a rotation"),
    ],
)
def test_scene_is_rejected(street, field, index, value, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        render(spoil(street(), field, index, value), CameraRig.nuplan())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"draw_distance_m": 0.0}, "draw_distance_m=0.0 must be from 1 to 10000 m"),
        ({"draw_distance_m": math.nan}, "draw_distance_m=nan must be"),
        (
            {"box_yaw": torch.zeros(1, 3)},
            r"Scene.box_yaw is torch.float32 of shape \(1, 3\); it must be .* \(1, 11\)",
        ),
        ({"box_class": torch.zeros(4)}, "box_class must have 2 axes"),
        (
            {"map_id": torch.zeros(1)},
            r"Scene.map_id is torch.float32 .* it must be torch.int64 of shape \(1,\)",
        ),
        ({"world_from_rig": torch.eye(3)[None]}, r"it must be torch.float32 of shape \(1, 4, 4\)"),
    ],
)
def test_shapes_are_rejected(street, changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        render(dataclasses.replace(street(), **changes), CameraRig.nuplan())


def test_unknown_backend_is_rejected(street):
    with pytest.raises(
        ValueError, match="'vulkan' is unknown; choose one of auto, reference, numba, triton, nvdiffrast"
    ):
        render(street(), CameraRig.nuplan(), backend="vulkan")


@pytest.fixture(params=["triton", "nvdiffrast"])
def cuda_backend(request, monkeypatch):
    """The name of a backend that draws on CUDA; Triton as compiled, not interpreted."""
    if request.param == "triton":
        pytest.importorskip("triton", reason="Triton comes with torch's builds for CUDA")
        monkeypatch.setattr("renderer.backends.triton_cuda.launch.INTERPRETED", False)
    return request.param


def test_cuda_backend_needs_cuda(street, cuda_backend, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="needs an NVIDIA GPU and torch sees none; use backend='numba'"):
        render(street(), CameraRig.nuplan(), backend=cuda_backend)


def test_cuda_backend_needs_its_scene_there(street, cuda_backend, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(ValueError, match=r"the scene lies on cpu; use Scene.to\('cuda'\)"):
        render(street(), CameraRig.nuplan(), backend=cuda_backend)


def test_missing_nvdiffrast_is_named(monkeypatch):
    from renderer.backends import nvdiffrast_cuda

    monkeypatch.setitem(sys.modules, "nvdiffrast", None)  # an import of it fails
    with pytest.raises(ValueError, match=r'pip install "gigapixel\[nvdiffrast\]"'):
        nvdiffrast_cuda.nvdiffrast_rasterizer(torch.device("cuda"))


def test_missing_triton_is_named(street, monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)  # an import of it fails
    with pytest.raises(ValueError, match=r"needs the package triton, .*; pip install triton, or use another"):
        render(street(), CameraRig.nuplan(), backend="triton")


def test_auto_on_cuda_needs_no_optional_install():
    assert automatic_backend("cuda") == "triton"


def test_auto_is_numba_on_the_cpu_and_warns_where_it_is_slow(street, caplog):
    assert automatic_backend("cpu") == "numba"
    with caplog.at_level(logging.WARNING):
        assert automatic_backend("mps") == "reference"
    assert "slow reference" in caplog.text
    rig = CameraRig.nuplan(9, 16)
    assert torch.equal(render(street(), rig).rgb, render(street(), rig, backend="numba").rgb)


def test_scene_moves_between_devices(street):
    moved = street().to("meta")
    assert moved.device.type == "meta"
    assert moved.ground.device.type == "meta"
    assert street().to("cpu").num_viewers == 1
