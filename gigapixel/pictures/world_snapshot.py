"""One instant of a simulated town or a logged scene, seen through the cameras of an agent and from above."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import jax
import numpy as np
import torch
from jaxtyping import Array, Float, Int, Key
from PIL import Image
from torch import Tensor

import teacher
from gigapixel.pictures.drawn_paths import Stroke, draw_from_above
from gigapixel.pictures.layout import Colour, shade_areas
from renderer import CameraRig, Frame, Scene, render
from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import SimulatorConfig
from simulator.conventions import CAR
from simulator.draw_state import agents_to_draw, lights_to_draw, world_of
from simulator.drawing.top_down import draw_world
from simulator.drawing.viewport import Viewport
from simulator.dynamics.bicycle import rear_poses
from simulator.reset.log_scenario import ReplayConfig
from simulator.reset.map_set import MapSet, load_map_set, single_map_entry
from simulator.reset.mixed_reset import load_log_initial_states, reset_mixed_worlds
from simulator.roads.road_map import RoadMap
from simulator.rollout import rollout_worlds
from simulator.state import WorldState
from student.bridge.ground import ground_library
from student.bridge.scene import light_table, render_inputs, scene_of_worlds
from teacher.evaluation.episodes import with_default_traits
from teacher.evaluation.logs import LOG_ROUTE_STATIONS
from teacher.evaluation.towns import evaluation_simulator
from teacher.policy import load_policy, make_policy_fn

TOP_DOWN_EXTENT_M = 90.0  # width of the view from above
FIELD_OF_VIEW_M = 32.0  # radius at which a camera's field of view is cut off
NEARBY_M = 45.0
EGO_COLOUR: Colour = (255, 255, 255)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorldSnapshot:
    """One instant of one world, and everything needed to draw it; batched fields have one world."""

    state: WorldState  # fields [1, agents, ...]
    road_map: RoadMap
    atlas: RoadAtlas
    config: SimulatorConfig
    driver: str | None  # for captions; None: agents do not move

    @property
    def time_s(self) -> float:
        """Seconds since the world was spawned."""
        return int(self.state.step[0]) * self.config.timestep_s


def make_snapshot(map_name: str, seed: int, num_agents: int, seconds: float) -> WorldSnapshot:
    """Reset one world and let the pretrained teacher drive it for some seconds.

    In a town the teacher drives all agents. In a scene pack (see `simulator.reset.map_set`) the seed selects the
    scene, the teacher drives all vehicles that can be driven, other agents replay the log, and the drive ends with it.
    Without a pretrained teacher the world stays in its initial state.

    Raises ValueError or OSError for maps that cannot be read or have too little road for the agents.
    """
    map_set = load_map_set([single_map_entry(map_name, seed)])
    map_set.check_capacity(num_agents, replayed=True)
    reset_key, drive_key = jax.random.split(jax.random.key(seed))
    policy = load_policy("pretrained") if has_pretrained_teacher() else None
    config = SimulatorConfig(num_agents=num_agents)
    if policy is not None:
        config = evaluation_simulator(policy, num_agents, 60.0)
    if map_set.log_maps:
        config = replace(config, route_stations=max(config.route_stations, LOG_ROUTE_STATIONS))
    state, atlas = initial_worlds(reset_key, map_set, config, 1), map_set.atlas
    if policy is None:
        _log.warning("no pretrained teacher in teacher/pretrained: the world is drawn in its initial state")
        return WorldSnapshot(state, map_set.road_maps[0], atlas, config, None)

    state = with_default_traits(state)
    policy_fn = make_policy_fn(policy, atlas, config, greedy=False)
    steps = round(seconds / config.timestep_s)
    if map_set.log_maps:
        steps = min(steps, int(state.scenario.log.last_step[0]))
    drive = jax.jit(lambda key, state, atlas: rollout_worlds(policy_fn, key, state, atlas, config, steps)[0])
    state = drive(drive_key, state, atlas) if steps else state
    return WorldSnapshot(state, map_set.road_maps[0], atlas, config, "the pretrained teacher")


def initial_worlds(
    key: Key[Array, ""], map_set: MapSet, config: SimulatorConfig, num_worlds: int
) -> WorldState:
    """Initial states [num_worlds, ...] on the maps of the set; logged scenes start from their logs."""
    reset = jax.jit(partial(reset_mixed_worlds, config=config, num_worlds=num_worlds))
    return reset(key, map_set.atlas, logs=load_log_initial_states(map_set, config, ReplayConfig()))


def has_pretrained_teacher() -> bool:
    """Whether the package includes a trained policy."""
    return (Path(teacher.__path__[0]) / "pretrained" / "policy.h5").is_file()


def busiest_car(state: WorldState) -> int:
    """Index of the driving car of the only world with the most agents within NEARBY_M; the lowest among equals."""
    position, present = np.asarray(state.position[0]), np.asarray(state.present[0])
    cars = np.asarray(state.active[0]) & (np.asarray(state.scenario.kind[0]) == CAR)
    candidates = cars if cars.any() else present
    if not candidates.any():
        raise ValueError(
            "no agent is left whose cameras could be shown; use more --agents or fewer --seconds"
        )
    gaps = np.linalg.norm(position[:, None, :2] - position[None, :, :2], axis=-1)
    near = ((gaps < NEARBY_M) & present[None]).sum(1)
    return int(np.argmax(np.where(candidates, near, -1)))


def draw_cameras(
    snapshot: WorldSnapshot, agents: Sequence[int], rig: CameraRig, backend: str = "auto", device: str = "cpu"
) -> Frame:
    """The views of some agents' cameras in the order of `agents`, rendered on `device` and returned on the CPU."""
    builder = SceneBuilder([snapshot.road_map], snapshot.atlas, snapshot.config)
    scene = builder.build(snapshot.state, torch.tensor(list(agents)))
    return render(scene.to(device), rig.to(device), backend=backend).to("cpu")


class SceneBuilder:
    """Makes scenes on one device from worlds; the ground and the places of traffic lights are uploaded once.

    Args:
        road_maps: The maps of the atlas, in its order.
        atlas: Where the worlds lie.
        config: The configuration that the worlds are stepped with.
        device: torch device of the scenes.
    """

    def __init__(
        self, road_maps: Sequence[RoadMap], atlas: RoadAtlas, config: SimulatorConfig, device: str = "cpu"
    ) -> None:
        self._atlas, self._config = atlas, config
        self._ground = ground_library(road_maps).to(device)
        self._lights = light_table(atlas, device)

    def build(self, state: WorldState, viewers: Int[Tensor, " viewers"]) -> Scene:
        """The scene of worlds [worlds, agents, ...] that some agents see; a viewer is world * agents + agent."""
        inputs = _render_inputs(state, self._lights.stops, self._atlas, self._config)
        return scene_of_worlds(state, inputs, self._lights, self._ground, viewers)


_render_inputs = jax.jit(render_inputs, static_argnums=3)


def draw_top_down(
    snapshot: WorldSnapshot,
    agent: int,
    rig: CameraRig,
    accents: Sequence[Colour],
    size: tuple[int, int],
    strokes: Sequence[Stroke] = (),
) -> Image.Image:
    """One agent and its surroundings from above, `size` pixels (width, height), with its cameras' fields of view.

    `accents` has one colour per camera; `strokes` are drawn from where the agent is.
    """
    state = world_of(snapshot.state, 0)
    centre = np.asarray(state.position)[agent, :2]
    rear_pose = np.asarray(rear_poses(state))[agent]
    draw = partial(draw_world, snapshot.road_map, centre=centre, extent_m=TOP_DOWN_EXTENT_M, size_px=size)
    agents = agents_to_draw(state)
    picture = draw(agents, lights_to_draw(state, snapshot.atlas, snapshot.config))
    view = Viewport.of(snapshot.road_map, centre, TOP_DOWN_EXTENT_M, size)
    areas = [view.pixels(area) for area in fields_of_view(rig, rear_pose)]
    picture = shade_areas(picture, areas, accents)
    if strokes:
        picture = draw_from_above(picture, view, rear_pose, strokes)
    ego = {name: values[agent : agent + 1] for name, values in agents.items()}
    ego["colour"] = np.array([EGO_COLOUR])
    return draw(ego, background=picture)


def fields_of_view(rig: CameraRig, pose: Float[np.ndarray, " 3"]) -> list[Float[np.ndarray, "points 2"]]:
    """Per camera the polygon, in world metres, that it covers on the ground, up to FIELD_OF_VIEW_M from it.

    `pose` is the rear axle's x, y (m) and yaw (rad).
    """
    x, y, yaw = pose.tolist()
    world_from_rig = np.array([[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]])
    columns = np.linspace(0, rig.width, 9)
    areas = []
    for intrinsics, rig_from_camera in zip(rig.intrinsics.numpy(), rig.rig_from_camera.numpy(), strict=True):
        across = (columns - intrinsics[0, 2]) / intrinsics[0, 0]
        rays = np.stack([across, np.zeros(9), np.ones(9)], axis=1) @ rig_from_camera[:3, :3].T
        rim = (
            FIELD_OF_VIEW_M
            * rays[:, :2]
            / np.maximum(np.linalg.norm(rays[:, :2], axis=1, keepdims=True), 1e-6)
        )
        camera_xy = rig_from_camera[:2, 3]
        areas.append(np.vstack([camera_xy, camera_xy + rim]) @ world_from_rig.T + (x, y))
    return areas
