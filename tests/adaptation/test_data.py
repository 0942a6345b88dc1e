"""Splits by scene, and what may be held out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adaptation.data import AdaptationData, SceneSampler, scene_weights, split_tails
from adaptation.pairs.pair import Pair

Line = Callable[..., dict[str, Any]]
WriteLog = Callable[..., Path]
SIZE = {"height_px": 18, "width_px": 32, "backend": "reference"}


def pair(scene: str, index: int) -> Pair:
    blank = torch.zeros(4, 18, 32, 3, dtype=torch.uint8)
    numbers = (torch.ones(4, dtype=torch.bool), torch.zeros(8), torch.zeros(4), torch.zeros(12))
    return Pair(f"{scene}/{index}", scene, blank, blank, *numbers)


def log_of(line: Line, write_log: WriteLog) -> Path:
    lines = [
        line(seq=seq, frame=i, image=f"{seq}{i}.png", timestamp=0.5 * i) | extra
        for seq, count, extra in (("a", 5, {}), ("b", 2, {}), ("pseudo", 1, {"label_source": "clusters"}))
        for i in range(count)
    ]
    return write_log(*lines)


def test_no_scene_is_on_both_sides(line: Line, write_log: WriteLog) -> None:
    root = str(log_of(line, write_log))
    data = AdaptationData(root=root, held_out=["made_up/b"], **SIZE)
    data.setup("fit")
    data.setup("test")
    assert data.training is not None
    assert data.validation is not None
    assert data.held_out is not None
    assert [p.name for p in data.training] == [f"made_up/a/{i}" for i in range(4)] + ["made_up/pseudo/0"]
    assert [p.name for p in data.validation] == ["made_up/a/4"]
    assert [p.name for p in data.held_out] == ["made_up/b/0", "made_up/b/1"]


def test_pseudo_labels_and_unknown_scenes_are_never_held_out(line: Line, write_log: WriteLog) -> None:
    root = str(log_of(line, write_log))
    with pytest.raises(ValueError, match="'made_up/pseudo', whose boxes are not ground truth"):
        AdaptationData(root=root, held_out=["made_up/pseudo"], **SIZE).setup("test")
    with pytest.raises(ValueError, match=r"data\.held_out names 'made_up/z'; the camera log has"):
        AdaptationData(root=root, held_out=["made_up/z"], **SIZE).setup("fit")


def test_a_folder_of_held_out_scenes_only_can_be_tested_on_but_not_trained_on(
    line: Line, write_log: WriteLog
) -> None:
    root = str(write_log(line(seq="b"), line(seq="b", frame=1, image="b1.png")))
    for train in (None, ["made_up/elsewhere"]):
        data = AdaptationData(root=root, held_out=["made_up/b"], train=train, **SIZE)
        assert not data.setup_training_where_present()
        data.setup("test")
        assert data.held_out is not None
        assert [p.name for p in data.held_out] == ["made_up/b/0", "made_up/b/1"]
    with pytest.raises(
        ValueError, match=r"held_out names all scenes of .*'made_up/b'\]; none is left to train on"
    ):
        AdaptationData(root=root, held_out=["made_up/b"], **SIZE).setup("fit")
    with pytest.raises(ValueError, match=r"data\.train names 'made_up/elsewhere'"):
        AdaptationData(root=root, held_out=["made_up/b"], train=["made_up/elsewhere"], **SIZE).setup("fit")


def test_one_image_per_drive_trains_but_leaves_nothing_to_validate_on(
    line: Line, write_log: WriteLog
) -> None:
    root = str(write_log(*(line(seq=seq, image=f"{seq}.png") for seq in "abc")))
    data = AdaptationData(root=root, held_out=["made_up/c"], **SIZE)
    data.setup("fit")
    assert data.training is not None
    assert [p.name for p in data.training] == ["made_up/a/0", "made_up/b/0"]
    assert data.setup_training_where_present()
    with pytest.raises(ValueError, match="nothing to validate on: no training scene has 5 samples"):
        data.setup("validate")


def test_images_that_no_camera_of_the_rig_sees_are_refused(line: Line, write_log: WriteLog) -> None:
    upwards = [[0.0, -1.0, 0.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.5], [0.0, 0.0, 0.0, 1.0]]
    turned = np.diag([1.0, -1.0, 1.0, 1.0]) @ upwards  # a rotation, optical axis up
    root = str(write_log(line(), line(seq="b", image="b.png", cam_to_ego=turned.tolist())))
    with pytest.raises(
        ValueError, match=r"no image of made_up/b covers 50% of a camera of the rig \(front, "
    ):
        AdaptationData(root=root, held_out=["made_up/b"], **SIZE).setup("test")


def test_tails_are_kept_of_scenes_that_are_long_enough() -> None:
    pairs = [pair("long", i) for i in range(10)] + [pair("short", i) for i in range(3)]
    training, validation = split_tails(pairs, 0.2)
    assert [p.name for p in validation] == ["long/8", "long/9"]
    assert len(training) == 11


def test_a_scene_given_for_both_sides_is_rejected() -> None:
    with pytest.raises(ValueError, match="'x' is both trained on and held out"):
        AdaptationData(source="stand_in").use([pair("x", 0)], [pair("x", 1)])
    with pytest.raises(ValueError, match="both name 'x'"):
        AdaptationData(held_out=["x"], train=["x", "y"])


def test_scene_balance_goes_from_samples_to_scenes() -> None:
    scenes = ["a"] * 4 + ["b"]
    assert scene_weights(scenes, 0.0) == [1.0] * 5
    assert scene_weights(scenes, 1.0) == [0.25] * 4 + [1.0]


def test_what_an_epoch_draws_depends_on_seed_and_epoch_only() -> None:
    def draw(seed: int, epoch: int) -> list[int]:
        sampler = SceneSampler([1.0] * 50, 20, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert draw(1, 3) == draw(1, 3)
    assert draw(1, 3) != draw(1, 4)
    assert draw(1, 3) != draw(2, 3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch_size": 0}, "data.batch_size=0"),
        ({"validation_share": 1.5}, "data.validation_share=1.5"),
        ({"held_out": []}, "data.held_out is empty"),
        ({"rig": "nowhere.yaml"}, r"nowhere\.yaml: no such camera file"),
    ],
)
def test_impossible_settings_are_rejected_by_name(change: dict[str, Any], words: str) -> None:
    with pytest.raises((ValueError, OSError), match=words):
        AdaptationData(**({"held_out": ["a/b"]} | change))
