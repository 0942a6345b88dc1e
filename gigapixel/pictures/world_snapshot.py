"""One instant of a town or a recorded scene: begun from a seed, driven, seen through cameras and from above."""

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
from jaxtyping import Float
from PIL import Image
from torch import Tensor

import teacher
from gigapixel.pictures.layout import Colour, shade_wedges
from renderer import CameraRig, Frame, GroundLibrary, Scene, render
from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import SimulatorConfig
from simulator.conventions import CAR
from simulator.drawing.draw_state import agents_to_draw, lights_to_draw, world_of
from simulator.drawing.top_down import draw_world
from simulator.drawing.viewport import View
from simulator.reset.log_scenario import ReplayConfig
from simulator.reset.map_set import load_places, one_place
from simulator.reset.reset import begin_worlds, load_starts
from simulator.roads.road_map import RoadMap
from simulator.rollout import roll
from simulator.state import WorldState, rear_axle
from student.bridge import LightTable, drawable, ground_library, light_table, scene
from teacher.evaluation.episodes import careful, choose_with
from teacher.evaluation.logs import LOG_ROUTE_STATIONS
from teacher.evaluation.towns import evaluation_simulator
from teacher.policy import load_policy

ABOVE_EXTENT_M = 90.0
WEDGE_M = 32.0
NEARBY_M = 45.0
EGO_COLOUR: Colour = (255, 255, 255)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Moment:
    """One instant of one world (batched fields have one world), and everything needed to draw it."""

    state: WorldState  # fields [1, agents, ...]
    road_map: RoadMap
    atlas: RoadAtlas
    config: SimulatorConfig
    driver: str  # who drove: "the pretrained teacher" or "nobody"

    @property
    def time_s(self) -> float:
        """Seconds since the world was spawned."""
        return int(self.state.step[0]) * self.config.timestep_s


def drive_a_while(map_name: str, seed: int, num_agents: int, seconds: float) -> Moment:
    """Begin one world and let the pretrained teacher drive; without one the world stays as it begins.

    `map_name` is a town, where it drives everybody, or a pack of recorded scenes (see `simulator.reset.map_set`), of
    which the seed picks one. There it drives every vehicle that can be driven, the rest replays the log, and the drive
    ends with the recording. Raises ValueError or OSError for maps that cannot be read or hold too few metres of road.
    """
    places = load_places([one_place(map_name, seed)])
    places.check_capacity(num_agents, replayed=True)
    reset_key, drive_key = jax.random.split(jax.random.key(seed))
    policy = load_policy("pretrained") if has_pretrained_teacher() else None
    config = SimulatorConfig(num_agents=num_agents)
    if policy is not None:
        config = evaluation_simulator(policy, num_agents, 60.0)
    if places.recorded:
        config = replace(config, route_stations=max(config.route_stations, LOG_ROUTE_STATIONS))
    starts = load_starts(places, config, ReplayConfig())
    begin = jax.jit(partial(begin_worlds, config=config, num_worlds=1))
    state, atlas = begin(reset_key, places.atlas, starts=starts), places.atlas
    if policy is None:
        _log.warning("no pretrained teacher in teacher/pretrained: the world is drawn as it begins")
        return Moment(state, places.road_maps[0], atlas, config, "nobody")

    state = careful(state)
    choose = choose_with(policy, atlas, config, greedy=False)
    steps = round(seconds / config.timestep_s)
    if starts is not None:
        steps = min(steps, int(state.scenario.logged.last_step[0]))
    drive = jax.jit(lambda key, state, atlas: roll(key, state, choose, atlas, config, steps)[0])
    state = drive(drive_key, state, atlas) if steps else state
    return Moment(state, places.road_maps[0], atlas, config, "the pretrained teacher")


def has_pretrained_teacher() -> bool:
    """Whether the package carries a policy."""
    return (Path(teacher.__path__[0]) / "pretrained" / "policy.h5").is_file()


def busiest_car(state: WorldState) -> int:
    """Index of the driving car with the most agents around it (the first of equals), in the only world."""
    position, present = np.asarray(state.position[0]), np.asarray(state.present[0])
    cars = np.asarray(state.active[0]) & (np.asarray(state.scenario.kind[0]) == CAR)
    candidates = cars if cars.any() else present
    if not candidates.any():
        raise ValueError("no agent was left to look through; choose more --agents or fewer --seconds")
    gaps = np.linalg.norm(position[:, None, :2] - position[None, :, :2], axis=-1)
    near = ((gaps < NEARBY_M) & present[None]).sum(1)
    return int(np.argmax(np.where(candidates, near, -1)))


def draw_cameras(
    moment: Moment, agents: Sequence[int], rig: CameraRig, backend: str = "auto", device: str = "cpu"
) -> Frame:
    """What the cameras of some agents of the world see, drawn on `device`, given on the CPU; viewers in order."""
    ground = ground_library([moment.road_map])
    drawn = scene_at(moment.state, moment.atlas, moment.config, ground, torch.tensor(list(agents)))
    return render(drawn.to(device), rig.to(device), backend=backend).to("cpu")


def scene_at(
    state: WorldState,
    atlas: RoadAtlas,
    config: SimulatorConfig,
    ground: GroundLibrary,
    viewers: Tensor,
    lights: LightTable | None = None,
) -> Scene:
    """Batched worlds as some of their agents see them, on the ground's device; `viewers` [viewers] i64 are
    world * agents + agent.

    `lights` is the atlas's light table on that device. Without one it is made anew, which is for single pictures: it
    asks the host.
    """
    table = light_table(atlas, ground.device) if lights is None else lights
    seen = _drawable(state, table.stops, atlas, config)
    return scene(state, seen, table, ground, viewers)


_drawable = jax.jit(drawable, static_argnums=3)


def draw_above(
    moment: Moment, agent: int, rig: CameraRig, accents: Sequence[Colour], size: tuple[int, int]
) -> Image.Image:
    """One agent and its surroundings from above, `size` pixels (width, height), with its cameras' fields of view."""
    state = world_of(moment.state, 0)
    centre = np.asarray(state.position)[agent, :2]
    draw = partial(draw_world, moment.road_map, centre=centre, extent_m=ABOVE_EXTENT_M, size_px=size)
    agents = agents_to_draw(state)
    picture = draw(agents, lights_to_draw(state, moment.atlas, moment.config))
    view = View.of(moment.road_map, centre, ABOVE_EXTENT_M, size)
    fans = fields_of_view(rig, rear_pose(state, agent))
    picture = shade_wedges(picture, [view.pixels(fan) for fan in fans], accents)
    ego = {name: values[agent : agent + 1] for name, values in agents.items()}
    ego["colour"] = np.array([EGO_COLOUR])
    return draw(ego, background=picture)


def rear_pose(state: WorldState, agent: int) -> tuple[float, float, float]:
    """World x, y (m) and yaw (rad) of one agent's rear axle."""
    x, y, _ = np.asarray(rear_axle(state.position, state.yaw, state.scenario.size))[agent].tolist()
    return x, y, float(state.yaw[agent])


def fields_of_view(rig: CameraRig, pose: tuple[float, float, float]) -> list[Float[np.ndarray, "points 2"]]:
    """Per camera a fan in world metres: what lies between its left and right border, up to WEDGE_M from it.

    `pose` is the rear axle's x, y (m) and yaw (rad).
    """
    x, y, yaw = pose
    world_from_rig = np.array([[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]])
    columns = np.linspace(0, rig.width, 9)
    fans = []
    for intrinsics, rig_from_camera in zip(rig.intrinsics.numpy(), rig.rig_from_camera.numpy(), strict=True):
        across = (columns - intrinsics[0, 2]) / intrinsics[0, 0]
        rays = np.stack([across, np.zeros(9), np.ones(9)], axis=1) @ rig_from_camera[:3, :3].T
        rim = WEDGE_M * rays[:, :2] / np.maximum(np.linalg.norm(rays[:, :2], axis=1, keepdims=True), 1e-6)
        eye = rig_from_camera[:2, 3]
        fans.append(np.vstack([eye, eye + rim]) @ world_from_rig.T + (x, y))
    return fans
