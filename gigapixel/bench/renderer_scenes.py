"""Scenes of `gigapixel bench renderer`: worlds that can be stepped, and what renderers for CPUs were compared with."""

from __future__ import annotations

import dataclasses
from functools import cached_property, partial
from typing import Any

import jax
import torch

from gigapixel.pictures.world_snapshot import scene_at
from renderer import CameraRig, ClassId, GroundLibrary, GroundMesh, Scene
from simulator.config import SimulatorConfig
from simulator.dynamics.bicycle import ACTIONS
from simulator.reset.log_scenario import ReplayConfig
from simulator.reset.map_set import load_places
from simulator.reset.reset import begin_worlds, load_starts
from simulator.rollout import step_worlds
from student.bridge import ground_library, light_table

PEERS_QUADS, PEERS_BOXES_M, PEERS_LANES_M, PEERS_EYE_M = 2_000, 50.0, 300.0, 1.6
"""The scene of the peers: quads of lanes (how many, and within how far) and boxes around an eye above a plane."""
STEPS = 50  # of random driving before worlds begin anew


class TownWorlds:
    """Freshly begun worlds of one town, or of the scenes of one pack, seen by everybody in them, and stepped with
    random actions."""

    def __init__(self, map_name: str, worlds: int, agents: int, seed: int, device: str) -> None:
        self.config = SimulatorConfig(num_agents=agents)
        places = load_places([map_name])
        self.atlas = places.atlas
        self.key = jax.random.key(seed)
        fresh = jax.jit(partial(begin_worlds, config=self.config, num_worlds=worlds))
        starts = load_starts(places, self.config, ReplayConfig())
        self.fresh = self.state = fresh(self.key, self.atlas, starts=starts)
        present = jax.device_get(self.state.present).reshape(-1)
        self.viewers = torch.from_numpy(present.nonzero()[0]).to(device)
        self.ground = ground_library(places.road_maps).to(device)
        self.lights = light_table(self.atlas, device)
        self.steps = 0

    def scene(self) -> Scene:
        """What is seen now."""
        return scene_at(self.state, self.atlas, self.config, self.ground, self.viewers, self.lights)

    def step(self) -> None:
        """A simulator step of all worlds; after STEPS of them they are as at the beginning."""
        self.steps += 1
        if self.steps % STEPS == 0:
            self.state = self.fresh
        self.state = self._step(jax.random.fold_in(self.key, self.steps), self.state)

    @cached_property
    def _step(self) -> Any:
        def step(key: Any, state: Any) -> Any:
            action = jax.random.randint(key, state.yaw.shape, 0, len(ACTIONS))
            return step_worlds(state, action, self.atlas, self.config)[0]

        return jax.jit(step)


def peers_scene(worlds: int, boxes: int, seed: int, rig: CameraRig) -> tuple[Scene, CameraRig]:
    """`worlds` viewers of as many worlds of `boxes` boxes each; the eye of every camera is PEERS_EYE_M up."""
    generator = torch.Generator().manual_seed(seed)

    def within(reach_m: float, *shape: int) -> torch.Tensor:
        return (2 * torch.rand(*shape, generator=generator) - 1) * reach_m

    along = torch.tensor([[-4.0, -1.75], [4.0, -1.75], [4.0, 1.75], [-4.0, 1.75]])
    middle, turn = within(PEERS_LANES_M, PEERS_QUADS, 1, 2), within(torch.pi, PEERS_QUADS, 1)
    corners = torch.stack(
        [
            along[:, 0] * turn.cos() - along[:, 1] * turn.sin(),
            along[:, 0] * turn.sin() + along[:, 1] * turn.cos(),
        ],
        dim=-1,
    )
    quads = torch.cat([middle + corners, torch.zeros(PEERS_QUADS, 4, 1)], dim=-1)
    ground = GroundMesh(quads, torch.full((PEERS_QUADS,), int(ClassId.DRIVABLE)))
    pose = torch.eye(4).repeat(worlds, 1, 1)
    scene = Scene(
        box_position=torch.cat(
            [within(PEERS_BOXES_M, worlds, boxes, 2), torch.zeros(worlds, boxes, 1)], dim=-1
        ),
        box_size=torch.tensor([4.6, 1.9, 1.6]).expand(worlds, boxes, 3).contiguous(),
        box_yaw=within(torch.pi, worlds, boxes),
        box_class=torch.zeros(worlds, boxes, dtype=torch.int64),
        light_position=torch.zeros(worlds, 0, 3),
        light_yaw=torch.zeros(worlds, 0),
        light_state=torch.zeros(worlds, 0, dtype=torch.int64),
        ground=GroundLibrary([ground]),
        map_id=torch.zeros(worlds, dtype=torch.int64),
        viewer_world=torch.arange(worlds),
        viewer_box=torch.full((worlds,), -1),
        world_from_rig=pose,
        draw_distance_m=PEERS_LANES_M,
    )
    mount = rig.rig_from_camera.clone()
    mount[:, 2, 3] = PEERS_EYE_M
    return scene, dataclasses.replace(rig, rig_from_camera=mount)
