"""`Frame`: the result of a renderer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

CHANNELS = ("rgb", "depth", "class_id", "instance_id")
CHANNEL_TYPES = {
    "rgb": torch.uint8,
    "depth": torch.float32,
    "class_id": torch.uint8,
    "instance_id": torch.int32,
}


@dataclass(frozen=True)
class Frame:
    """Images of every camera of every viewer, on the device of the scene, in the requested channels.

    Class, depth and instance of a pixel are those of the surface or decal layer that covers most of it.

    Attributes:
        channels: by name, some of:

            rgb: [viewers, cameras, height, width, 3] u8.
            depth: [viewers, cameras, height, width] f32, metres along the viewing axis (not along the ray); inf for
                sky. Bare ground has the depth of a level plane at the viewer's height.
            class_id: [viewers, cameras, height, width] u8, a `ClassId`.
            instance_id: [viewers, cameras, height, width] i32, index of the box in its world; -1 where there is none.
    """

    channels: Mapping[str, Tensor]

    def __getitem__(self, channel: str) -> Tensor:
        if channel not in self.channels:
            raise ValueError(
                f"this frame was drawn without {channel}; it holds {', '.join(self.channels)}: ask `render` for "
                f"channels=({channel!r}, ...)"
            )
        return self.channels[channel]

    @property
    def rgb(self) -> Tensor:
        return self["rgb"]

    @property
    def depth(self) -> Tensor:
        return self["depth"]

    @property
    def class_id(self) -> Tensor:
        return self["class_id"]

    @property
    def instance_id(self) -> Tensor:
        return self["instance_id"]

    def to(self, device: torch.device | str) -> "Frame":
        """A copy on another device."""
        return Frame({name: pixels.to(device) for name, pixels in self.channels.items()})


def check_channels(channels: Sequence[str]) -> tuple[str, ...]:
    """`channels` as a tuple; raises ValueError if it is empty or one is unknown or repeated."""
    unknown = [name for name in channels if name not in CHANNELS]
    if isinstance(channels, str) or unknown or not channels or len(set(channels)) != len(channels):
        raise ValueError(f"channels={channels!r} must name some of {', '.join(CHANNELS)}, none of them twice")
    return tuple(channels)
