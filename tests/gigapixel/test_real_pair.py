"""`gigapixel render --frame`: on a synthetic log whose geometry is known, and on real frames where there are any.

The synthetic log is a world of two cars, a pedestrian and a straight road, seen by two of nuPlan's cameras
and drawn here, by hand and in world coordinates, with the appearance of the surrogate domain. Its files have the
formats of the data sets: images, calibration, boxes in camera frames, a pose and a map in a pickle.
"""

from __future__ import annotations

import gzip
import json
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from adaptation.frames.camera_log import CameraLog
from adaptation.pairs.outline_overlay import BOX_RGB
from adaptation.surrogate import shift_appearance
from gigapixel.__main__ import main
from gigapixel.pictures.layout import CAPTION_PX, GAP_PX, HEADER_PX
from gigapixel.pictures.real_pair import COLUMN_TITLES, row_label
from renderer import CameraRig, ClassId, GroundLibrary, GroundMesh, Scene, render
from renderer.ground_quads import polygon_quads, strip_quads

WIDTH, HEIGHT = 160, 90
SCENE = "nuscenes_mini/scene-0001"
CAMERAS = ("front", "back")
YAW, PLACE = 0.7, (400.0, 900.0, 0.0)
"""Pose of the vehicle in its world."""
CARS = ((11.0, 2.5, 0.2, (4.5, 1.9, 1.6), "car"), (-14.0, -1.0, -0.1, (5.0, 2.0, 1.8), "car"))
PERSON = (9.0, -4.0, 1.0, (0.6, 0.7, 1.8), "pedestrian")
"""Place (m) and heading in the vehicle's frame, length, width, height (m), and class."""
ROAD = ((-60.0, -6.0), (60.0, -6.0), (60.0, 6.0), (-60.0, 6.0))
MIDDLE = ((-60.0, 0.5), (60.0, 0.5))
"""In the vehicle's frame, m."""


def world_from_rig() -> np.ndarray:
    """[4, 4] of the vehicle."""
    pose = np.eye(4)
    pose[:2, :2] = [[np.cos(YAW), -np.sin(YAW)], [np.sin(YAW), np.cos(YAW)]]
    pose[:3, 3] = PLACE
    return pose


def in_world(points: Any) -> np.ndarray:
    """Ground points of the vehicle's frame [n, 2] in the world [n, 3]."""
    flat = np.asarray(points, float)
    return np.column_stack([flat, np.zeros((len(flat), 1))]) @ world_from_rig()[:3, :3].T + PLACE


def known_world(boxes: Any) -> Scene:
    """The world, in its own coordinates, without any of the adaptation room's code."""
    outline = in_world(ROAD)
    ground = [
        polygon_quads(outline, ClassId.DRIVABLE),
        strip_quads(np.concatenate([outline, outline[:1]]), 0.25, ClassId.ROAD_EDGE),
        strip_quads(in_world(MIDDLE), 0.15, ClassId.MARKING_YELLOW),
    ]
    kinds = {"car": 0, "pedestrian": 3}
    return Scene(
        box_position=torch.tensor(in_world([box[:2] for box in boxes]), dtype=torch.float32)[None],
        box_size=torch.tensor([box[3] for box in boxes], dtype=torch.float32)[None],
        box_yaw=torch.tensor([box[2] + YAW for box in boxes], dtype=torch.float32)[None],
        box_class=torch.tensor([[kinds[box[4]] for box in boxes]]),
        light_position=torch.zeros(1, 0, 3),
        light_yaw=torch.zeros(1, 0),
        light_state=torch.zeros(1, 0, dtype=torch.int64),
        ground=GroundLibrary([GroundMesh.concatenate(ground)]),
        map_id=torch.zeros(1, dtype=torch.int64),
        viewer_world=torch.zeros(1, dtype=torch.int64),
        viewer_box=torch.full((1,), -1),
        world_from_rig=torch.tensor(world_from_rig(), dtype=torch.float32)[None],
    )


def rig() -> CameraRig:
    """The cameras of the log."""
    return CameraRig.nuplan(HEIGHT, WIDTH).select(CAMERAS)


def drawn(boxes: Any) -> torch.Tensor:
    """[cameras, height, width, 3] u8: what they see of the world."""
    return render(known_world(boxes), rig(), channels=("rgb",), backend="reference").rgb[0]


def corners_rig(box: Any) -> np.ndarray:
    """[8, 3] in the files' order, in the vehicle's frame, m."""
    x, y, yaw, (length, width, height), _ = box
    flat = np.array([(1, 1), (1, -1), (-1, -1), (-1, 1)]) / 2 * (length, width)
    turned = flat @ np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]]) + (x, y)
    return np.array([(*point, z) for z in (0.0, height) for point in turned])


def in_camera(points: np.ndarray, camera: int) -> np.ndarray:
    """Points of the vehicle's frame in a camera's, m."""
    camera_from_rig = np.linalg.inv(rig().rig_from_camera[camera].double().numpy())
    return points @ camera_from_rig[:3, :3].T + camera_from_rig[:3, 3]


def write_frame(folder: Path, frame: int, boxes: Any) -> list[str]:
    """Pictures of one moment; returns its lines of the index."""
    lines = []
    looks = shift_appearance(drawn(boxes))
    for camera, name in enumerate(CAMERAS):
        image = f"{name}_{frame}.png"
        Image.fromarray(looks[camera].numpy()).save(folder / image)
        items = [
            {
                "cls": box[4],
                "id": i,
                "lwh": box[3],
                "corners_cam": in_camera(corners_rig(box), camera).tolist(),
            }
            for i, box in enumerate(boxes)
        ]
        line = {"dataset": "nuscenes_mini", "seq": "scene-0001", "frame": frame, "cam": name, "image": image}
        line |= {"width": WIDTH, "height": HEIGHT, "timestamp": 0.5 * frame, "boxes": items}
        line |= {"K": rig().intrinsics[camera].tolist(), "cam_to_ego": rig().rig_from_camera[camera].tolist()}
        lines.append(json.dumps(line | {"ego_to_world": world_from_rig().tolist()}))
    return lines


def write_map(path: Path) -> None:
    """The road as the logs have it."""
    outline, middle = in_world(ROAD)[:, :2], in_world(MIDDLE)[:, :2]
    features = {
        "lane": {"type": "LANE_SURFACE_STREET", "polygon": outline, "polyline": middle},
        "boundary_0": {
            "type": "ROAD_LINE_SOLID_SINGLE_WHITE",
            "polyline": np.concatenate([outline, outline[:1]]),
        },
        "middle": {"type": "ROAD_LINE_SOLID_SINGLE_YELLOW", "polyline": middle},
    }
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress(pickle.dumps({"map_features": features})))


@pytest.fixture(scope="module")
def synthetic_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of two moments, of two cameras each; the second has a pedestrian more."""
    root = tmp_path_factory.mktemp("data")
    folder = root / "camera"
    folder.mkdir()
    lines = [*write_frame(folder, 3, CARS), *write_frame(folder, 4, (*CARS, PERSON))]
    (folder / "frames.jsonl").write_text("\n".join(lines) + "\n")
    write_map(root / "logs" / "nuscenes_scenarionet" / "sd_scene-0001.pkl.gz")
    return root


@pytest.fixture
def data(synthetic_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The synthetic data, where the command finds them."""
    monkeypatch.setenv("GIGAPIXEL_DATA", str(synthetic_data))
    return synthetic_data


def pair(output: Path, *arguments: str, frame: str = SCENE) -> int:
    """Run the command at the pictures' own size."""
    size = f"{WIDTH}x{HEIGHT}"
    return main(["render", "--frame", frame, "--output", str(output), "--size", size, *arguments])


@pytest.fixture(scope="module")
def first_pair(synthetic_data: Path) -> Path:
    """What the command makes of the first moment."""
    path = synthetic_data / "first_pair.png"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIGAPIXEL_DATA", str(synthetic_data))
        assert pair(path) == 0
    return path


def panels(path: Path, row: int) -> list[np.ndarray]:
    """The pictures of one row of the image grid: real, rendering, outlines."""
    image = np.asarray(Image.open(path))
    top = HEADER_PX + CAPTION_PX + row * (CAPTION_PX + HEIGHT + GAP_PX) + CAPTION_PX
    lefts = [GAP_PX + place * (WIDTH + GAP_PX) for place in range(len(COLUMN_TITLES))]
    return [image[top : top + HEIGHT, left : left + WIDTH] for left in lefts]


def test_real_pictures_stand_uncropped_beside_renderings_of_the_same_world(
    synthetic_data: Path, first_pair: Path
) -> None:
    """From boxes in camera frames and a map in the world to the very picture that was drawn in the world."""
    known = drawn(CARS).numpy().astype(int)
    for row, camera in enumerate(CAMERAS):
        real, rendering, _ = panels(first_pair, row)
        assert (real == np.asarray(Image.open(synthetic_data / "camera" / f"{camera}_3.png"))).all()
        difference = np.abs(rendering.astype(int) - known[row]).max(-1)
        assert (difference <= 2).mean() > 0.99  # the rest: edges, through another frame's rounding
        assert np.abs(rendering.astype(int) - known[1 - row]).max() > 100


@pytest.mark.parametrize("row", [0, 1])
def test_outlines_lie_on_the_projected_corners(first_pair: Path, row: int) -> None:
    outlines = panels(first_pair, row)[2].astype(int)
    blue = np.abs(outlines - BOX_RGB[ClassId.CAR]).sum(-1) < 150
    rows, columns = np.nonzero(blue)
    pixels = in_camera(corners_rig(CARS[row]), row) @ rig().intrinsics[row].double().numpy().T
    pixels = pixels[:, :2] / pixels[:, 2:]
    np.testing.assert_allclose([columns.min(), rows.min()], pixels.min(0), atol=1.5)
    np.testing.assert_allclose([columns.max() + 1, rows.max() + 1], pixels.max(0), atol=1.5)


def test_the_first_frame_is_the_default_and_the_same_frame_gives_the_same_bytes(
    data: Path, first_pair: Path, tmp_path: Path
) -> None:
    again, other = tmp_path / "again.png", tmp_path / "other.png"
    assert pair(again, frame=f"{SCENE}/3") == pair(other, frame=f"{SCENE}/4") == 0
    assert first_pair.read_bytes() == again.read_bytes()
    assert first_pair.read_bytes() != other.read_bytes()


def test_cameras_are_shown_as_chosen(data: Path, first_pair: Path, tmp_path: Path) -> None:
    assert pair(tmp_path / "turned.png", "--camera", "back", "front") == 0
    assert pair(tmp_path / "one.png", "--camera", "back") == 0
    back = panels(first_pair, 1)[1]
    assert (panels(tmp_path / "turned.png", 0)[1] == back).all()
    assert (panels(tmp_path / "one.png", 0)[1] == back).all()
    assert Image.open(tmp_path / "one.png").height == HEADER_PX + CAPTION_PX + CAPTION_PX + HEIGHT + GAP_PX


def test_a_label_says_whether_there_is_a_map_and_whether_the_boxes_are_true(data: Path) -> None:
    frame = CameraLog.load(data).samples[0].cameras[0]
    assert row_label(frame, True) == "front: 160 x 90 px, 2 boxes, road from a lane map"
    guessed = replace(frame, pseudo_labels=True)
    assert row_label(guessed, False).endswith(
        "2 boxes (not ground truth), no map: all ground is drawn as road"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--frame", "moon/a"], f"moon/a: .*no such scene; .* {SCENE}$"),
        (["--frame", "nuscenes_mini"], f"no such scene; .* {SCENE}$"),
        (["--frame", f"{SCENE}/9"], r"has no frame '9'; it has 3-4$"),
        (["--frame", SCENE, "--camera", "roof"], "--camera roof: .*scene-0001/3 has .*it has front, back$"),
        (["--frame", SCENE, "--camera", "back", "back"], "names back twice"),
        (["--frame", SCENE, "--size", "160x91"], "would stretch .*160x90; try 160x90$"),
        (["--frame", SCENE, "--size", "wide"], "WIDTHxHEIGHT"),
        (["--frame", SCENE, "--map", "Town01"], "--map is for towns and --frame for real data"),
        (["--frame", SCENE, "--video", "a.mp4"], "--video is for towns"),
        (["--frame", SCENE, "--seed", "3"], "--seed is for towns"),
        (["--frame", SCENE, "--backend", "crayon"], "backend='crayon' is unknown"),
        (["--map", "Town01", "--camera", "front"], "--camera needs --frame"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    output = tmp_path / "pair.png"
    assert main(["render", *arguments, "--output", str(output)]) == 2
    messages = capsys.readouterr().err.strip().splitlines()
    assert len(messages) == 1
    with pytest.raises(ValueError, match=words):
        raise ValueError(messages[0])
    assert not output.exists()


def test_a_picture_needs_a_place_and_real_data(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert main(["render", "--frame", SCENE]) == 2
    assert "--frame needs --output" in capsys.readouterr().err
    monkeypatch.delenv("GIGAPIXEL_DATA")
    assert pair(tmp_path / "pair.png") == 2
    assert "the folder in GIGAPIXEL_DATA, which is not set" in capsys.readouterr().err


def test_it_loads_no_jax(data: Path, tmp_path: Path, repository: Path) -> None:
    program = (
        "import sys; from gigapixel.__main__ import main; code = main(sys.argv[1:]); "
        "print('jax' in sys.modules); sys.exit(code)"
    )
    command = ["render", "--frame", SCENE, "--camera", "front", "--backend", "reference", "--size", "32x18"]
    done = subprocess.run(
        [sys.executable, "-c", program, *command, "--output", str(tmp_path / "pair.png")],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr


def test_six_real_cameras_fit_into_a_small_picture(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIGAPIXEL_DATA", str(real_data))
    output = tmp_path / "pair.png"
    assert main(["render", "--frame", "nuscenes_mini/scene-0103", "--output", str(output)]) == 0
    width, height = Image.open(output).size
    assert width == GAP_PX + 3 * (480 + GAP_PX)
    assert height == HEADER_PX + CAPTION_PX + 6 * (CAPTION_PX + 270 + GAP_PX)
    assert output.stat().st_size < 3_000_000
