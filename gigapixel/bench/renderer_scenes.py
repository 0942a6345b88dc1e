"""Scenes of `gigapixel bench renderer`: simulated worlds, and a synthetic scene to compare with other renderers."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import Any

import jax
import torch

from gigapixel.pictures.world_snapshot import SceneBuilder, initial_worlds
from renderer import CameraRig, ClassId, GroundLibrary, GroundMesh, Scene
from simulator.config import SimulatorConfig
from simulator.dynamics.bicycle import ACTIONS
from simulator.reset.map_set import load_map_set
from simulator.rollout import step_worlds

LANE_QUADS, LANES_WITHIN_M = 2_000, 300.0
BOXES_WITHIN_M = 50.0
LANES_CAMERA_HEIGHT_M = 1.6
STEPS_PER_EPISODE = 50  # of random driving before the worlds are set back to their initial state


class SteppedWorlds:
    """Worlds of one town, or of the scenes of one pack, in which all present agents are viewers; stepped with random
    actions."""

    def __init__(self, map_name: str, worlds: int, agents: int, seed: int, device: str) -> None:
        self.config = SimulatorConfig(num_agents=agents)
        map_set = load_map_set([map_name])
        self.atlas = map_set.atlas
        self.key = jax.random.key(seed)
        self.initial_state = self.state = initial_worlds(self.key, map_set, self.config, worlds)
        present = jax.device_get(self.state.present).reshape(-1)
        self.viewers = torch.from_numpy(present.nonzero()[0]).to(device)
        self.scene_builder = SceneBuilder(map_set.road_maps, self.atlas, self.config, device)
        self.steps = 0

    def scene(self) -> Scene:
        """The scene of the current state, on the device."""
        return self.scene_builder.build(self.state, self.viewers)

    def step(self) -> None:
        """A simulator step of all worlds; after STEPS_PER_EPISODE steps they start again from their initial state."""
        self.steps += 1
        if self.steps % STEPS_PER_EPISODE == 0:
            self.state = self.initial_state
        self.state = self._step(jax.random.fold_in(self.key, self.steps), self.state)

    @cached_property
    def _step(self) -> Any:
        def step(key: Any, state: Any) -> Any:
            action = jax.random.randint(key, state.yaw.shape, 0, len(ACTIONS))
            return step_worlds(state, action, self.atlas, self.config)[0]

        return jax.jit(step)


def lanes_scene(worlds: int, boxes: int, seed: int, rig: CameraRig) -> tuple[Scene, CameraRig]:
    """A synthetic scene of `worlds` worlds of `boxes` boxes and LANE_QUADS lane quads each, with one viewer per world.

    Returns the scene and `rig` with all cameras raised to LANES_CAMERA_HEIGHT_M. Renderers for CPUs are compared on
    scenes of this kind, see `benchmarks/README.md`.
    """
    generator = torch.Generator().manual_seed(seed)

    def uniform(reach_m: float, *shape: int) -> torch.Tensor:
        return (2 * torch.rand(*shape, generator=generator) - 1) * reach_m

    along = torch.tensor([[-4.0, -1.75], [4.0, -1.75], [4.0, 1.75], [-4.0, 1.75]])
    middle, turn = uniform(LANES_WITHIN_M, LANE_QUADS, 1, 2), uniform(torch.pi, LANE_QUADS, 1)
    corners = torch.stack(
        [
            along[:, 0] * turn.cos() - along[:, 1] * turn.sin(),
            along[:, 0] * turn.sin() + along[:, 1] * turn.cos(),
        ],
        dim=-1,
    )
    quads = torch.cat([middle + corners, torch.zeros(LANE_QUADS, 4, 1)], dim=-1)
    ground = GroundMesh(quads, torch.full((LANE_QUADS,), int(ClassId.DRIVABLE)))
    pose = torch.eye(4).repeat(worlds, 1, 1)
    scene = Scene(
        box_position=torch.cat(
            [uniform(BOXES_WITHIN_M, worlds, boxes, 2), torch.zeros(worlds, boxes, 1)], dim=-1
        ),
        box_size=torch.tensor([4.6, 1.9, 1.6]).expand(worlds, boxes, 3).contiguous(),
        box_yaw=uniform(torch.pi, worlds, boxes),
        box_class=torch.zeros(worlds, boxes, dtype=torch.int64),
        light_position=torch.zeros(worlds, 0, 3),
        light_yaw=torch.zeros(worlds, 0),
        light_state=torch.zeros(worlds, 0, dtype=torch.int64),
        ground=GroundLibrary([ground]),
        map_id=torch.zeros(worlds, dtype=torch.int64),
        viewer_world=torch.arange(worlds),
        viewer_box=torch.full((worlds,), -1),
        world_from_rig=pose,
        draw_distance_m=LANES_WITHIN_M,
    )
    mount = rig.rig_from_camera.clone()
    mount[:, 2, 3] = LANES_CAMERA_HEIGHT_M
    return scene, dataclasses.replace(rig, rig_from_camera=mount)
