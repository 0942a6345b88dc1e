"""Weights of timm's models from files that come inside Python packages."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from gigapixel.run_folder.config.packaged_weights import verified_file

ONNX_LAYER = "backbone.encoder.layer"
BLOCK_NAMES = {
    "norm1": "norm1",
    "norm2": "norm2",
    "attn.proj": "attention.output.dense",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
"""Layers of a block by timm's name, and by the file's."""


def load_packaged(model: nn.Module, name: str) -> None:
    """Put the packaged weights of timm's model `name` into it, its position embedding resized to the model's grid.

    Raises ValueError for a model without such weights and a file that is not the known one, OSError where the package
    is not installed.
    """
    from timm.layers import resample_abs_pos_embed

    path = verified_file(name)
    if path.suffix != ".onnx":
        model.load_state_dict(
            in_order(torch.load(path, map_location="cpu", weights_only=True), model.state_dict())
        )
        return
    weights = dinov2_weights(path)
    grid = model.patch_embed.grid_size  # type: ignore[union-attr]
    weights["pos_embed"] = resample_abs_pos_embed(weights["pos_embed"], list(grid), num_prefix_tokens=1)  # type: ignore[arg-type]
    model.load_state_dict(weights)


def in_order(stored: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """The stored weights under the wanted names: EfficientNet's layers follow each other alike in both, whatever they
    are called; the classifier is left out. Raises ValueError where a shape differs."""
    kept = {name: value for name, value in stored.items() if not name.startswith("_fc.")}
    renamed = dict(zip(wanted, kept.values()))
    differing = [name for name, value in renamed.items() if value.shape != wanted[name].shape]
    if differing or len(kept) != len(wanted):
        raise ValueError(
            f"packaged weights: {len(kept)} tensors, of which {len(differing)} have another shape than the model's "
            f"{len(wanted)}; the first is {differing[0] if differing else 'none'}"
        )
    return renamed


def dinov2_weights(path: Path) -> dict[str, Tensor]:
    """Weights of a DINOv2 ViT without registers in an ONNX file, by timm's names. Raises OSError where the reader of
    such files is not installed."""
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise OSError(f"{path}: is read by the package onnx; install it by `pip install onnx`") from error
    graph = onnx.load(str(path)).graph
    stored = {
        entry.name: torch.from_numpy(numpy_helper.to_array(entry).copy()) for entry in graph.initializer
    }
    # Matrices have lost their names to the nodes that multiply by them, and lie transposed.
    matrices = {
        node.name.strip("/").removesuffix("/MatMul").replace("/", "."): stored[node.input[1]].T
        for node in graph.node
        if node.op_type == "MatMul" and node.input[1] in stored
    }
    grids = [value for name, value in stored.items() if value.ndim == 3 and "cls_token" not in name]
    of_class, of_patches = sorted(grids, key=lambda value: value.shape[1])
    weights = {
        "cls_token": stored["backbone.embeddings.cls_token"],
        "pos_embed": torch.cat([of_class, of_patches], dim=1),
        "patch_embed.proj.weight": stored["backbone.embeddings.patch_embeddings.projection.weight"],
        "patch_embed.proj.bias": stored["backbone.embeddings.patch_embeddings.projection.bias"],
        "norm.weight": stored["backbone.layernorm.weight"],
        "norm.bias": stored["backbone.layernorm.bias"],
    }
    layers = len({name.split(".")[3] for name in stored if name.startswith(f"{ONNX_LAYER}.")})
    for layer in range(layers):
        weights |= _block(f"{ONNX_LAYER}.{layer}", f"blocks.{layer}", stored, matrices)
    return weights


def _block(
    there: str, here: str, stored: dict[str, Tensor], matrices: dict[str, Tensor]
) -> dict[str, Tensor]:
    """One block; queries, keys and values become one layer."""
    parts = [f"{there}.attention.attention.{part}" for part in ("query", "key", "value")]
    weights = {
        f"{here}.attn.qkv.weight": torch.cat([matrices[part] for part in parts]),
        f"{here}.attn.qkv.bias": torch.cat([stored[f"{part}.bias"] for part in parts]),
    }
    for scale in ("1", "2"):
        weights[f"{here}.ls{scale}.gamma"] = stored[f"{there}.layer_scale{scale}.lambda1"]
    for ours, theirs in BLOCK_NAMES.items():
        name = f"{there}.{theirs}"
        weights[f"{here}.{ours}.weight"] = matrices[name] if name in matrices else stored[f"{name}.weight"]
        weights[f"{here}.{ours}.bias"] = stored[f"{name}.bias"]
    return weights
