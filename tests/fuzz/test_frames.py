"""Real frames: any change of an index or of a picture gives samples that can be paired, or a sentence."""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from adaptation.frames.calibrated_rig import sample_rig
from adaptation.frames.camera_log import CameraLog
from adaptation.frames.ego_motion import ego_inputs_of_sample
from adaptation.pairs.paired_frames import choose_source
from adaptation.pairs.reconstruction import ground_normal_rig, scene_of_frame
from renderer.camera import CameraRig
from tests.adaptation.conftest import HEIGHT, WIDTH, synthetic_line
from tests.fuzz import tree_changes
from tests.fuzz.byte_damage import ByteDamage, byte_damage
from tests.fuzz.judge import Judge

RIG = CameraRig.nuplan(18, 32)
LINES = [synthetic_line(timestamp=0.0), synthetic_line(frame=1, timestamp=0.5)]
LINES[1]["ego_to_world"][0][3] = 5.0
LINES[1]["ground_plane_ego"] = [0.0, 0.02, 1.0, 0.0]


def _picture(form: str, mode: str = "RGB") -> bytes:
    noise = np.random.default_rng(3).integers(0, 255, (HEIGHT // 20, WIDTH // 20, 3), np.uint8)
    image = Image.fromarray(noise).resize((WIDTH, HEIGHT)).convert(mode)
    file = io.BytesIO()
    image.save(file, form)
    return file.getvalue()


PICTURES = [
    _picture("PNG"), _picture("PNG", "P"), _picture("PNG", "RGBA"), _picture("JPEG"), _picture("WEBP"),
    _picture("TIFF"),
]  # fmt: skip


def _use(folder: Path) -> None:
    """Read the index and do what adaptation does with each sample."""
    log = CameraLog.load(folder)
    for sample in log.samples:
        normal = ground_normal_rig(sample)
        for frame in sample.cameras:
            scene = scene_of_frame(frame, normal)
            assert np.isfinite(scene.box_position.numpy()).all()
            assert frame.load_image().shape == (frame.height, frame.width, 3)
        sample_rig(sample)
        motion = ego_inputs_of_sample(sample, log.samples_of_scenes([sample.scene]))
        assert all(np.isfinite(np.asarray(value, np.float64)).all() for value in vars(motion).values())
        for camera in range(4):
            choose_source(sample, RIG, camera)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "camera").mkdir()
    (tmp_path / "camera" / "front.png").write_bytes(PICTURES[0])
    return tmp_path


@given(
    which=st.integers(0, 1), changes=tree_changes.tree_changes(), damage=st.none() | st.none() | byte_damage()
)
def test_indices(
    which: int, changes: list[tree_changes.TreeChange], damage: ByteDamage | None, judge: Judge, folder: Path
) -> None:
    lines = copy.deepcopy(LINES)
    if damage is None:
        lines[which] = tree_changes.changed(lines[which], changes)
    content = "\n".join(json.dumps(line) for line in lines).encode()
    index = folder / "camera" / "frames.jsonl"
    index.write_bytes(content if damage is None else damage.applied(content))
    judge(lambda: _use(folder), index)


@given(picture=st.sampled_from(PICTURES), damage=byte_damage())
def test_pictures(picture: bytes, damage: ByteDamage, judge: Judge, folder: Path) -> None:
    path = folder / "camera" / "front.png"
    path.write_bytes(damage.applied(picture))
    (folder / "camera" / "frames.jsonl").write_text(json.dumps(LINES[0]))
    judge(lambda: _use(folder), path)
