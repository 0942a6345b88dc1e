"""What a renderer gives back."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Frame:
    """Pictures of every camera of every viewer, on the device of the scene.

    Attributes:
        rgb: [viewers, cameras, height, width, 3] u8.
        depth: [viewers, cameras, height, width] f32, metres along the viewing axis (not along the ray); inf is sky.
            Bare ground has the depth of a level plane under the viewer.
        class_id: [viewers, cameras, height, width] u8, a `ClassId`.
    """

    rgb: Tensor
    depth: Tensor
    class_id: Tensor
