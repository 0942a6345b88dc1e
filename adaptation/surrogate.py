"""A surrogate for the real domain, for machines without real data: our renderings under a fixed appearance shift.

It is called `stand_in` in configs and `stand-in` in reports. The appearance shift is photometric (mixed channels,
gamma, veil, vignette) and textural (multi-scale noise, blur, sensor grain), both fixed, and so strong that a student
trained on clean renderings makes errors. Geometry is the same on both sides of a pair. The scenes are random roads with
random boxes, because this package does not load the simulator; `pairs_of_observation` makes pairs from any rendered
observation instead, for example of a town.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from adaptation.frames.ego_motion import EGO_SIZE_M
from adaptation.pairs.pair import Pair
from renderer.camera import CameraRig
from renderer.ground import GroundLibrary, GroundMesh
from renderer.ground_quads import ribbon_quads
from renderer.palette import ClassId
from renderer.render import render
from renderer.scene import Scene
from simulator.conventions import NUM_TRAITS, WHEELBASE_RATIO
from simulator.roads.road_map import MarkingType
from student.bridge.ground import edge_meshes, marking_meshes
from student.observation import Command, Observation, ego_features, one_hot_command

TEXTURE_SEED = 20_240_229
NUM_TEXTURES = 16
CHANNEL_MIX = ((0.55, 0.35, 0.05), (0.20, 0.50, 0.20), (0.10, 0.30, 0.35))
"""Rows: weights of the rendering's red, green and blue in the shifted channels; less saturated and warmer."""
GAMMA = 1.5
VEIL = 0.08
VIGNETTE = 0.35
TEXTURE_STRENGTH = 0.35
GRAIN = 0.03

ROAD_LANE_WIDTH_M = 3.5
STATION_SPACING_M = 4.0
ROAD_LENGTH_M = 300.0


def textures(height: int, width: int, count: int = NUM_TEXTURES) -> Float[Tensor, "count 3 height width"]:
    """Fixed multi-scale noise images with mean 0 and standard deviation 1."""
    generator = torch.Generator().manual_seed(TEXTURE_SEED)
    total = torch.zeros(count, 3, height, width)
    for octave in range(2, 7):
        size = (min(height, 2**octave), min(width, 2 ** (octave + 1)))
        noise = torch.randn(count, 1, *size, generator=generator) + 0.15 * torch.randn(
            count, 3, *size, generator=generator
        )
        total += functional.interpolate(noise, (height, width), mode="bilinear", align_corners=False)
    return (total - total.mean((2, 3), keepdim=True)) / total.std((2, 3), keepdim=True)


def shift_appearance(
    images: UInt8[Tensor, "views height width 3"], number: Sequence[int] | None = None
) -> UInt8[Tensor, "views height width 3"]:
    """Rendered images under the appearance shift, a deterministic function of image and number.

    `number` selects the texture of each view (default: its index in the batch).
    """
    views, height, width, _ = images.shape
    numbers = list(range(views)) if number is None else list(number)
    noise = textures(height, width)[torch.tensor(numbers) % NUM_TEXTURES].to(images.device)
    image = images.permute(0, 3, 1, 2).float() / 255.0
    image = torch.einsum("ij,njhw->nihw", torch.tensor(CHANNEL_MIX, device=images.device), image)
    image = image.clamp(min=1e-4) ** GAMMA
    image = image * torch.exp(TEXTURE_STRENGTH * noise)
    image = functional.avg_pool2d(functional.pad(image, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    y = torch.linspace(-1, 1, height, device=images.device).view(-1, 1)
    x = torch.linspace(-1, 1, width, device=images.device).view(1, -1)
    image = (VEIL + (1 - VEIL) * image) * (1 - VIGNETTE * (x**2 + y**2) / 2)
    grain = noise.roll((height // 3, width // 3), dims=(2, 3)).diff(dim=3, append=noise[..., :1])
    return torch.round((image + GRAIN * grain).clamp(0, 1) * 255).to(torch.uint8).permute(0, 2, 3, 1)


def pairs_of_observation(observation: Observation, scenes: Sequence[str]) -> list[Pair]:
    """Surrogate pairs of a rendered batch; `scenes` are the names of the scenes of its rows.

    Raises ValueError where their number differs.
    """
    observation = observation.to("cpu")
    if len(scenes) != len(observation):
        raise ValueError(f"scenes names {len(scenes)} rows of an observation of {len(observation)}")
    cameras = observation.images.shape[1]
    shifted = shift_appearance(observation.images.flatten(0, 1)).view_as(observation.images)
    return [
        Pair(
            name=f"{scene}/{row}",
            scene=scene,
            real=shifted[row],
            rendering=observation.images[row],
            camera_mask=observation.camera_mask[row] & torch.ones(cameras, dtype=torch.bool),
            ego=observation.ego[row],
            command=observation.command[row],
            conditioning=observation.conditioning[row],
        )
        for row, scene in enumerate(scenes)
    ]


@dataclass(frozen=True)
class SurrogateConfig:
    """Size and seed of the surrogate domain."""

    scenes: int = 24  # roads; whole roads are held out
    moments_per_scene: int = 8  # ego positions with traffic on each road
    held_out_scenes: int = 6  # of the scenes
    seed: int = 0  # of roads and traffic; the appearance shift does not depend on it

    def __post_init__(self) -> None:
        if self.moments_per_scene < 1:
            raise ValueError(f"stand_in.moments_per_scene={self.moments_per_scene} must be at least 1")
        if not 0 < self.held_out_scenes < self.scenes:
            raise ValueError(
                f"stand_in.held_out_scenes={self.held_out_scenes} must lie between 1 and scenes - 1={self.scenes - 1}"
            )


def scene_name(index: int) -> str:
    """Name of a surrogate scene."""
    return f"stand-in/{index:03d}"


def surrogate_pairs(config: SurrogateConfig, rig: CameraRig, backend: str = "auto") -> list[Pair]:
    """Pairs on random roads: the rendering, and the rendering under the appearance shift."""
    pairs: list[Pair] = []
    for index in range(config.scenes):
        rng = np.random.default_rng((config.seed, index))
        road = _Road.random(rng)
        samples = [_Traffic.random(rng, road) for _ in range(config.moments_per_scene)]
        observation = _observe(road, samples, rig, backend)
        pairs += pairs_of_observation(observation, [scene_name(index)] * len(samples))
    return pairs


@dataclass(frozen=True)
class _Road:
    """A road of constant curvature, as stations along its centre line."""

    centre: Float[np.ndarray, "stations 3"]  # m
    yaw: Float[np.ndarray, " stations"]  # rad
    lanes_each_way: int

    @classmethod
    def random(cls, rng: np.random.Generator) -> _Road:
        stations = np.arange(0.0, ROAD_LENGTH_M + STATION_SPACING_M, STATION_SPACING_M)
        curvature = rng.uniform(-0.012, 0.012)
        yaw = rng.uniform(-math.pi, math.pi) + curvature * stations
        step = STATION_SPACING_M * np.stack([np.cos(yaw), np.sin(yaw)], axis=1)
        xy = np.concatenate([np.zeros((1, 2)), np.cumsum(step[:-1], axis=0)])
        return cls(np.concatenate([xy, np.zeros((len(xy), 1))], axis=1), yaw, int(rng.integers(1, 3)))

    def offset(self, left_m: float) -> Float[np.ndarray, "stations 3"]:
        """The line `left_m` to the left of the centre line."""
        across = np.stack([-np.sin(self.yaw), np.cos(self.yaw), np.zeros_like(self.yaw)], axis=1)
        return self.centre + left_m * across

    def pose(self, station: int, left_m: float) -> tuple[Float[np.ndarray, " 3"], float]:
        """Point (m) at an offset to the left of a station, and the heading (rad) there."""
        return self.offset(left_m)[station], float(self.yaw[station])

    def mesh(self) -> GroundMesh:
        """Drivable surface, edges and markings."""
        half = self.lanes_each_way * ROAD_LANE_WIDTH_M
        meshes = [ribbon_quads(self.offset(half), self.offset(-half), ClassId.DRIVABLE)]
        meshes += edge_meshes(self.offset(side * half) for side in (1, -1))
        markings = [(self.centre, MarkingType.SOLID_YELLOW)]
        for lane in range(1, self.lanes_each_way):
            for side in (1, -1):
                markings.append((self.offset(side * lane * ROAD_LANE_WIDTH_M), MarkingType.DASHED_WHITE))
        meshes += marking_meshes(markings)
        return GroundMesh.concatenate(meshes)


NUM_BOXES = 14
KIND_SIZES_M = ((4.6, 1.85, 1.6), (9.0, 2.5, 3.2), (1.8, 0.7, 1.7), (0.6, 0.6, 1.75), (2.0, 1.5, 1.0))
KIND_SHARES = (0.7, 0.1, 0.06, 0.1, 0.04)


@dataclass(frozen=True)
class _Traffic:
    """Boxes on a road, and the ego vehicle among them."""

    position: Float[np.ndarray, "boxes 3"]
    size: Float[np.ndarray, "boxes 3"]
    yaw: Float[np.ndarray, " boxes"]
    kind: np.ndarray  # [boxes] int, -1 absent
    rear_axle: Float[np.ndarray, " 3"]  # m, of the ego vehicle
    ego_yaw: float  # rad
    speed_mps: float

    @classmethod
    def random(cls, rng: np.random.Generator, road: _Road) -> _Traffic:
        here = int(rng.integers(12, len(road.yaw) - 24))
        lane = -ROAD_LANE_WIDTH_M * (rng.integers(road.lanes_each_way) + 0.5)
        centre, heading = road.pose(here, lane + rng.normal(0, 0.3))
        ego_yaw = heading + rng.normal(0, 0.05)
        ahead = np.array([math.cos(ego_yaw), math.sin(ego_yaw), 0.0])
        axle = centre - WHEELBASE_RATIO / 2 * EGO_SIZE_M[0] * ahead
        stations = here + rng.permutation(np.r_[-10:-2, 2:18])[:NUM_BOXES]
        kinds = rng.choice(len(KIND_SHARES), NUM_BOXES, p=KIND_SHARES)
        positions, yaws = np.zeros((NUM_BOXES, 3)), np.zeros(NUM_BOXES)
        for i, (station, kind) in enumerate(zip(stations, kinds)):
            side = int(rng.choice((-1, 1)))
            off_road = kind >= 3
            across = (
                road.lanes_each_way * ROAD_LANE_WIDTH_M + rng.uniform(0.5, 3)
                if off_road
                else ROAD_LANE_WIDTH_M * (rng.integers(road.lanes_each_way) + 0.5)
            )
            positions[i], along = road.pose(int(station), side * across)
            yaws[i] = along + (math.pi if side > 0 else 0.0) + rng.normal(0, 0.05)
        size = np.array(KIND_SIZES_M)[kinds] * rng.uniform(0.9, 1.1, (NUM_BOXES, 1))
        kinds = np.where(rng.random(NUM_BOXES) < rng.uniform(0, 0.7), -1, kinds)
        return cls(positions, size, yaws, kinds, axle, ego_yaw, float(rng.uniform(0, 14)))


def _observe(road: _Road, samples: list[_Traffic], rig: CameraRig, backend: str) -> Observation:
    count = len(samples)

    def real(name: str) -> Tensor:
        return torch.tensor(np.stack([getattr(sample, name) for sample in samples]), dtype=torch.float32)

    pose = torch.eye(4).repeat(count, 1, 1)
    yaw = real("ego_yaw")
    pose[:, 0, 0], pose[:, 0, 1], pose[:, 1, 0], pose[:, 1, 1] = yaw.cos(), -yaw.sin(), yaw.sin(), yaw.cos()
    pose[:, :3, 3] = real("rear_axle")
    scene = Scene(
        box_position=real("position"),
        box_size=real("size"),
        box_yaw=real("yaw"),
        box_class=torch.tensor(np.stack([sample.kind for sample in samples]), dtype=torch.int64),
        light_position=torch.zeros(count, 0, 3),
        light_yaw=torch.zeros(count, 0),
        light_state=torch.zeros(count, 0, dtype=torch.int64),
        ground=GroundLibrary([road.mesh()]),
        map_id=torch.zeros(count, dtype=torch.int64),
        viewer_world=torch.arange(count),
        viewer_box=torch.full((count,), -1, dtype=torch.int64),
        world_from_rig=pose,
    )
    zero = torch.zeros(count)
    return Observation(
        images=render(scene, rig, channels=("rgb",), backend=backend).rgb,
        camera_mask=torch.ones(count, rig.num_cameras, dtype=torch.bool),
        ego=ego_features(real("speed_mps"), zero, zero, zero, torch.tensor([EGO_SIZE_M]).repeat(count, 1)),
        command=one_hot_command(torch.full((count,), int(Command.STRAIGHT))),
        conditioning=torch.zeros(count, NUM_TRAITS),
    )
