"""`Scene`: the boxes, lights and ground of many worlds at one instant, and the viewers whose cameras are rendered."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from renderer.ground import GroundLibrary
from renderer.palette import BOX_CLASSES, LightState

DEFAULT_DRAW_DISTANCE_M = 100.0
LIGHT_RADIUS_M = 0.55


@dataclass(frozen=True)
class Scene:
    """Many worlds at one instant, and their viewers. World frame: x east, y north, z up; yaw counter-clockwise from +x.

    A box spans z to z + height above its ground point. A traffic light is a one-sided disc that faces the vehicles it
    controls; `light_yaw` is their direction of travel. Entries of absent boxes (class -1) and dark lights (state 0)
    are ignored and may be NaN.
    """

    box_position: Tensor  # [worlds, boxes, 3] f32 m, ground point under the centre
    box_size: Tensor  # [worlds, boxes, 3] f32 m, length, width, height
    box_yaw: Tensor  # [worlds, boxes] f32 rad
    box_class: Tensor  # [worlds, boxes] i64: -1 absent, 0 car, 1 truck, 2 cyclist, 3 pedestrian, 4 static
    light_position: Tensor  # [worlds, lights, 3] f32 m, centre of the disc
    light_yaw: Tensor  # [worlds, lights] f32 rad, direction of travel of the controlled approach
    light_state: Tensor  # [worlds, lights] i64: 0 none, 1 green, 2 yellow, 3 red
    ground: GroundLibrary
    map_id: Tensor  # [worlds] i64, index of the world's map in `ground`
    viewer_world: Tensor  # [viewers] i64, index of the viewer's world
    viewer_box: Tensor  # [viewers] i64, the viewer's own box, which its cameras do not show; -1 for none
    world_from_rig: Tensor  # [viewers, 4, 4] f32 m
    draw_distance_m: float = DEFAULT_DRAW_DISTANCE_M  # along the ray; beyond it only bare ground and sky

    @property
    def num_viewers(self) -> int:
        return len(self.viewer_world)

    @property
    def device(self) -> torch.device:
        return self.world_from_rig.device

    def to(self, device: torch.device | str) -> "Scene":
        """A copy on another device."""
        held = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {
            name: value.to(device)
            for name, value in held.items()
            if isinstance(value, Tensor | GroundLibrary)
        }
        return replace(self, **moved)

    def validate(self) -> None:
        """Raise ValueError with one sentence if the scene cannot be drawn."""
        self._check_shapes()
        if not 1.0 <= self.draw_distance_m <= 1e4:
            raise ValueError(f"Scene.draw_distance_m={self.draw_distance_m} must be from 1 to 10000 m")
        checks = [*self._ranges(), *self._numbers(), self._sizes(), self._rotations()]
        broken = torch.stack([wrong.any() for wrong, _ in checks])
        if broken.any():  # the only synchronisation with the device, if the scene is valid
            wrong, sentence = checks[int(broken.nonzero()[0])]
            raise ValueError(sentence(wrong.nonzero()[0].tolist()))

    def _ranges(self) -> list["_Check"]:
        """Checks of indices and enumerations."""
        return [
            _in_range("box_class", self.box_class, -1, len(BOX_CLASSES) - 1),
            _in_range("light_state", self.light_state, 0, max(LightState)),
            _in_range("map_id", self.map_id, 0, self.ground.num_maps - 1),
            _in_range("viewer_world", self.viewer_world, 0, len(self.map_id) - 1),
            _in_range("viewer_box", self.viewer_box, -1, self.box_class.shape[1] - 1),
        ]

    def _numbers(self) -> list["_Check"]:
        """Checks that numbers are finite where they are used."""
        present, lit = self.box_class >= 0, self.light_state > 0
        everywhere = torch.ones_like(self.viewer_world, dtype=torch.bool)
        wanted = [
            ("box_position", present),
            ("box_size", present),
            ("box_yaw", present),
            ("light_position", lit),
            ("light_yaw", lit),
            ("world_from_rig", everywhere),
        ]
        return [_finite(field, getattr(self, field), where) for field, where in wanted]

    def _sizes(self) -> "_Check":
        """Check that present boxes have a positive size."""
        small = (self.box_size <= 0).any(-1) & (self.box_class >= 0)
        return (
            small,
            lambda index: (
                f"Scene.box_size{index}={self.box_size[tuple(index)].tolist()} must be above 0 m in length, width and "
                "height; an absent box has box_class -1"
            ),
        )

    def _rotations(self) -> "_Check":
        """Check that `world_from_rig` holds rotations, to 1e-3."""
        rotation = self.world_from_rig[:, :3, :3]
        identity = torch.eye(3, device=self.device)
        bent = (rotation @ rotation.transpose(1, 2) - identity).abs().amax((1, 2)) > 1e-3
        first, second, third = rotation.unbind(1)
        wrong = bent | ((torch.linalg.cross(first, second) * third).sum(-1) < 0)
        return (
            wrong,
            lambda index: (
                f"Scene.world_from_rig{index} is not a rotation and a translation in its upper rows"
            ),
        )

    def _check_shapes(self) -> None:
        """Raise ValueError if a field has another shape, dtype or device than documented."""
        if self.box_class.ndim != 2 or self.light_state.ndim != 2 or self.viewer_world.ndim != 1:
            raise ValueError(
                "Scene.box_class must have 2 axes (worlds, boxes), light_state 2 (worlds, lights) and viewer_world 1; "
                f"they have {self.box_class.ndim}, {self.light_state.ndim} and {self.viewer_world.ndim}"
            )
        (worlds, boxes), lights, viewers = self.box_class.shape, self.light_state.shape[1], self.num_viewers
        real, whole = torch.float32, torch.int64
        for field, shape, dtype in (
            ("box_position", (worlds, boxes, 3), real),
            ("box_size", (worlds, boxes, 3), real),
            ("box_yaw", (worlds, boxes), real),
            ("box_class", (worlds, boxes), whole),
            ("light_position", (worlds, lights, 3), real),
            ("light_yaw", (worlds, lights), real),
            ("light_state", (worlds, lights), whole),
            ("map_id", (worlds,), whole),
            ("viewer_world", (viewers,), whole),
            ("viewer_box", (viewers,), whole),
            ("world_from_rig", (viewers, 4, 4), real),
        ):
            value = getattr(self, field)
            if tuple(value.shape) != shape or value.dtype != dtype:
                raise ValueError(
                    f"Scene.{field} is {value.dtype} of shape {tuple(value.shape)}; it must be {dtype} of shape {shape}"
                )
            if value.device != self.ground.device:
                raise ValueError(
                    f"Scene.{field} lies on {value.device} and the ground on {self.ground.device}; use Scene.to(device)"
                )


# Mask of wrong entries, and the error message for the entry with given indices.
_Check = tuple[Tensor, Callable[[list[int]], str]]


def _finite(field: str, value: Tensor, wanted: Tensor) -> _Check:
    """Entries of `value` [*wanted.shape, ...] that are not finite although `wanted`."""
    lead = wanted.ndim
    broken = ~torch.isfinite(value).flatten(lead).all(-1) if value.ndim > lead else ~torch.isfinite(value)
    return broken & wanted, lambda index: f"Scene.{field}{index} is not finite; poses must be numbers"


def _in_range(field: str, value: Tensor, least: int, most: int) -> _Check:
    """Entries of `value` outside [least, most]."""
    return (value < least) | (
        value > most
    ), lambda index: f"Scene.{field}{index}={int(value[tuple(index)])} must be from {least} to {most}"
