"""Which image encoder a student has, and its sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class EncoderConfig:
    """Architecture of the image encoder."""

    kind: Literal["compact", "timm", "registers"] = "compact"
    features: int = 128  # width of a token
    channels: tuple[int, ...] = (16, 32, 64)  # compact: of one convolution each, stride 3 and then 2
    timm_name: str = "vit_small_patch14_reg4_dinov2"  # timm, registers: name in timm.list_models()
    pretrained: bool = False  # timm, registers: begin with the published weights
    pretrained_from: Literal["hub", "package"] = "hub"
    """Where these come from: downloaded, or from an installed package, see
    `gigapixel/run_folder/config/packaged_weights.py`."""
    input_height_px: int = 112  # timm, registers: images are resized to this
    input_width_px: int = 196
    partial_patches: Literal["refuse", "pad"] = "refuse"
    """timm, registers: what to do where a transformer's patch does not divide the input size. `pad` adds rows below and
    columns to the right, of the mean colour of the backbone's training data, up to whole patches."""
    freeze_backbone: bool = False  # timm: train only the projection to a token; registers: and the registers
    registers: int = 16  # registers: tokens per camera
    register_std: float = 1e-6  # registers: of the normal distribution that they begin with; 1e-6 in DrivoR
    grid_mask: float = 0.0  # registers: probability of GridMask (student/network/grid_mask.py) in training
    lora_rank: int = 32  # registers: of the backbone's queries and values, which is frozen then; 0: none

    def __post_init__(self) -> None:
        if self.kind not in ("compact", "timm", "registers"):
            raise ValueError(f"encoder.kind={self.kind!r} is unknown; use 'compact', 'timm' or 'registers'")
        if self.partial_patches not in ("refuse", "pad"):
            raise ValueError(
                f"encoder.partial_patches={self.partial_patches!r} is unknown; use 'refuse' or 'pad'"
            )
        if self.pretrained_from not in ("hub", "package"):
            raise ValueError(
                f"encoder.pretrained_from={self.pretrained_from!r} is unknown; use 'hub' or 'package'"
            )
        if not 0 <= self.grid_mask <= 1:
            raise ValueError(f"encoder.grid_mask={self.grid_mask} must lie in [0, 1]")
        if not 0 < self.register_std < float("inf"):
            raise ValueError(f"encoder.register_std={self.register_std} must be above 0")
        if self.lora_rank < 0:
            raise ValueError(f"encoder.lora_rank={self.lora_rank} must be 0 (none) or more")
        for name in ("features", "input_height_px", "input_width_px", "registers"):
            if getattr(self, name) < 1:
                raise ValueError(f"encoder.{name}={getattr(self, name)} must be at least 1")
        if not self.channels or any(c < 8 or c % 8 for c in self.channels):
            raise ValueError(f"encoder.channels={self.channels} must be multiples of 8, at least one")

    @property
    def tokens_per_camera(self) -> int:
        """Tokens that one image becomes, each of `features` numbers."""
        return self.registers if self.kind == "registers" else 1
