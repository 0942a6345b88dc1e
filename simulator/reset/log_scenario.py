"""Worlds made of recorded traffic: one `LoggedScene` becomes the first state of an episode.

On the host. Who drives what is a choice (`ReplayConfig`): recorded agents replay their track to the bit, others follow
their recorded path by policy or by the intelligent driver model and may be where the recording is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from simulator.atlas.edge_distance import corner_room
from simulator.atlas.road_atlas import RoadAtlas
from simulator.collision import collides
from simulator.config import SimulatorConfig
from simulator.conventions import KIND_NAMES, NUM_TRAITS
from simulator.dynamics.bicycle import (
    MAX_ACCELERATION,
    MAX_LATERAL_ACCELERATION,
    MAX_SPEED,
    MAX_STEERING,
    MIN_ACCELERATION,
)
from simulator.logs.scene_pack import LoggedScene
from simulator.logs.traffic_log import TrafficLog, parked_tracks, wrapped
from simulator.reset.log_routes import Lanes, TrackRoute, route_of_track, straight_route
from simulator.reset.log_tracks import (
    LoggedTracks,
    chosen_tracks,
    for_agents,
    num_logged_steps,
    padded_recording,
    tracks_at_simulator_steps,
)
from simulator.reset.spawn import SPEED_SCALE, first_state
from simulator.state import IDM, LOG, PARKED, POLICY, Logged, Scenario, WorldState, route_table, wheelbase

FORWARD_RAD = np.deg2rad(60.0)
"""A body whose heading differs more from its path backs up; it replays its track."""
STANDS_MPS = 1.0
"""A track that ends slower than this stands where it ends."""
_ABSENT_SIZE = (4.0, 2.0, 1.5)  # m, of agents without a track


@dataclass(frozen=True)
class ReplayConfig:
    """Who drives the tracks of a recorded scene. Tracks that nobody is chosen for replay the log.

    Only tracks that are there at the start, move forwards by `least_drive_m` or more and are of one of `kinds` can be
    driven otherwise; shares are of those.

    Attributes:
        policy_share: Share of them that a policy drives; the recording car comes first.
        idm_share: Share of them that the intelligent driver model drives.
        ego_only: A policy drives the recording car alone (`policy_share` is not looked at).
        kinds: Kinds of agents that may be driven.
        least_drive_m: Tracks that drive less replay the log: their goal is where they stand.
        freeze_parked: Parked tracks stand still at their middle for the whole episode instead of wandering as
            annotated and vanishing when the recording car no longer sees them.
        start_step: Step of the log at which the episode starts.
    """

    policy_share: float = 1.0
    idm_share: float = 0.0
    ego_only: bool = False
    kinds: tuple[str, ...] = ("car", "truck")
    least_drive_m: float = 5.0
    freeze_parked: bool = False
    start_step: int = 0

    def __post_init__(self) -> None:
        for name in ("policy_share", "idm_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} must lie in [0, 1]")
        if not self.ego_only and self.policy_share + self.idm_share > 1:
            raise ValueError(
                f"policy_share + idm_share is {self.policy_share + self.idm_share:g}; it must not exceed 1"
            )
        unknown = [kind for kind in self.kinds if kind not in KIND_NAMES]
        if unknown:
            raise ValueError(f"kinds holds {unknown[0]!r}; expected some of {', '.join(KIND_NAMES)}")
        if self.start_step < 0 or self.least_drive_m <= 0:
            raise ValueError(
                f"start_step={self.start_step} must be at least 0 and least_drive_m={self.least_drive_m} positive"
            )

    @property
    def has_idm(self) -> bool:
        """Whether the intelligent driver model is compiled into the step of such worlds."""
        return self.idm_share > 0


def logged_world(
    scene: LoggedScene,
    map_id: int,
    config: SimulatorConfig,
    replay: ReplayConfig,
    generator: np.random.Generator,
    steps: int | None = None,
    stops: int | None = None,
) -> WorldState:
    """The first state of an episode in a recorded scene, on the map ``map_id`` of an atlas; leaves are numpy arrays.

    Where the simulator's step is a multiple of the log's, LOG agents will be exactly where the log has them; else the
    log is interpolated. Goal radii are the smallest of the configuration, so that a driver goes where the track went.
    ``steps`` and ``stops`` are the capacities to pad to. Raises ValueError where the scene does not fit them, where too
    little of it is left, or where ``ego_only`` meets a scene that does not name its recording car.
    """
    return logged_worlds(scene, map_id, config, replay, generator, 1, steps, stops)[0]


def logged_worlds(
    scene: LoggedScene,
    map_id: int,
    config: SimulatorConfig,
    replay: ReplayConfig,
    generator: np.random.Generator,
    count: int,
    steps: int | None = None,
    stops: int | None = None,
    tell: bool = True,
) -> list[WorldState]:
    """``count`` worlds of one scene, which differ in who drives what and in the drivers' traits; see `logged_world`.

    ``tell`` says whether to log the tracks that find no room.
    """
    _check(scene, config, replay, steps, stops)
    tracks = tracks_at_simulator_steps(scene.log, config, replay.start_step)
    tracks = chosen_tracks(scene.log, tracks, config.num_agents, tell)
    can_drive, routes = _drivable(scene.log, tracks, Lanes(scene.road_map), config, replay)
    worlds = []
    for _ in range(count):
        control = for_agents(
            _control(scene.log, tracks, can_drive, replay, generator), config.num_agents, PARKED
        )
        logged = padded_recording(tracks, config.num_agents, steps, stops)
        for row in np.flatnonzero(control[: len(tracks.number)] == PARKED):
            middle = np.median(tracks.position[row, tracks.valid[row]], axis=0)
            logged.position[row], logged.speed[row] = middle, 0.0
        scenario = _scenario(scene.log, tracks, routes, control, config, replay, generator)
        worlds.append(_first(scenario.replace(logged=logged), logged, np.int32(map_id), config))
    return worlds


def _check(
    scene: LoggedScene, config: SimulatorConfig, replay: ReplayConfig, steps: int | None, stops: int | None
) -> None:
    name = f"{scene.log.source_file}: scene {scene.log.name}"
    count = num_logged_steps(scene.log, config, replay.start_step)
    if count < 2:
        raise ValueError(
            f"{name}: start_step={replay.start_step} of {scene.log.num_steps} steps leaves {count} "
            f"of {config.timestep_s:g} s; expected at least 2, a smaller start_step"
        )
    if replay.ego_only and scene.log.ego_track < 0:
        raise ValueError(f"{name}: does not name its recording car; ego_only expects scenes that do")
    for what, found, room in (("steps", count, steps), ("stop lines", len(scene.log.light_state), stops)):
        if room is not None and found > room:
            raise ValueError(f"{name}: has {found} {what}; expected at most {room}, the capacity")


def _drivable(
    log: TrafficLog, tracks: LoggedTracks, lanes: Lanes, config: SimulatorConfig, replay: ReplayConfig
) -> tuple[Bool[np.ndarray, " tracks"], list[TrackRoute]]:
    """Which tracks can be driven otherwise than recorded, and the routes of all."""
    kinds = [KIND_NAMES.index(kind) for kind in replay.kinds]
    can_drive = np.isin(log.kind[tracks.number], kinds) & tracks.valid[:, 0]
    routes = []
    for row in range(len(tracks.number)):
        start = int(tracks.valid[row].argmax())
        place, yaw = tracks.position[row, start], float(tracks.yaw[row, start])
        route = straight_route(place, yaw, lanes, config.route_stations)
        if can_drive[row]:
            way = route_of_track(tracks.position[row], tracks.valid[row], yaw, lanes, config.route_stations)
            is_ego = tracks.number[row] == log.ego_track
            goes = way.driven_m >= replay.least_drive_m or (replay.ego_only and is_ego)
            can_drive[row] = goes and np.cos(way.yaw[0] - yaw) > np.cos(FORWARD_RAD)
            route = way if can_drive[row] else route
        routes.append(route)
    return can_drive, routes


def _control(
    log: TrafficLog,
    tracks: LoggedTracks,
    can_drive: Bool[np.ndarray, " tracks"],
    replay: ReplayConfig,
    generator: np.random.Generator,
) -> Int[np.ndarray, " tracks"]:
    """Who drives each track: POLICY, IDM, LOG or PARKED."""
    control = np.full(len(tracks.number), LOG)
    is_ego = tracks.number == log.ego_track
    drivers = generator.permutation(np.flatnonzero(can_drive))
    drivers = drivers[np.argsort(~is_ego[drivers], kind="stable")]
    if replay.ego_only:
        by_policy = int(is_ego[drivers].sum())
        driven = by_policy + round(replay.idm_share * len(drivers))
    else:  # both ends are rounded, so that shares that add up to 1 leave nobody over
        by_policy = round(replay.policy_share * len(drivers))
        driven = round((replay.policy_share + replay.idm_share) * len(drivers))
    control[drivers[:by_policy]] = POLICY
    control[drivers[by_policy:driven]] = IDM
    if replay.freeze_parked:
        still = parked_tracks(tracks.position, tracks.valid) & tracks.valid[:, 0]
        control[still & (control == LOG)] = PARKED
    return control


def _scenario(
    log: TrafficLog,
    tracks: LoggedTracks,
    routes: Sequence[TrackRoute],
    control: Int[np.ndarray, " agents"],
    config: SimulatorConfig,
    replay: ReplayConfig,
    generator: np.random.Generator,
) -> Scenario:
    """What the episode fixes, all but the recording; agents beyond the tracks are absent."""
    agents, number = config.num_agents, tracks.number
    blank = TrackRoute(
        np.zeros((config.route_stations, 3), np.float32),
        np.zeros(config.route_stations, np.float32),
        np.ones(config.route_stations, np.float32),
        0.0,
        0.0,
    )
    rows = [*routes, *[blank] * (agents - len(routes))]
    size = for_agents(log.size[number], agents, 0.0)
    size[len(number) :] = _ABSENT_SIZE
    kind = for_agents(log.kind[number], agents, 0)
    fastest = for_agents(np.abs(np.where(tracks.valid, tracks.speed, 0.0)).max(axis=1), agents, 0.0)
    idm = control == IDM
    limit = np.stack([row.limit_mps for row in rows])
    limit = np.where(idm[:, None], np.maximum(limit, fastest[:, None]), limit)  # who hurried goes on hurrying
    goal = np.where(idm, [row.end_m for row in rows], [row.driven_m for row in rows]).astype(np.float32)
    stands = for_agents(np.abs(tracks.speed[:, -1]) < STANDS_MPS, agents, False)
    stands &= np.array([row.end_m <= row.driven_m for row in rows])
    one = np.ones(agents, np.float32)
    fields: dict[str, Any] = {
        "size": size,
        "kind": kind.astype(np.int32),
        "throttle_gain": one,
        "steer_gain": one,
        "acceleration_gain": one,
        "speed_gain": np.maximum(np.array(SPEED_SCALE)[kind], fastest / MAX_SPEED).astype(np.float32),
        "traits": generator.uniform(size=(agents, NUM_TRAITS)).astype(np.float32),
        "route": _route(rows, limit),
        "goal_m": np.repeat(goal[:, None], config.num_goals, axis=1),
        "num_goals": np.where(idm & stands, 0, 1).astype(np.int32),
        "goal_radius_m": one * np.float32(config.goal_radius_m[0]),
        "light_phase": np.float32(0.0),
        "lights_on": np.bool_(True),
        "map_matrix": np.eye(2, dtype=np.float32),
        "map_inverse": np.eye(2, dtype=np.float32),
        "control": control.astype(np.int32),
        "noise": np.zeros(agents, np.int32),
        "has_idm": replay.has_idm,
    }
    return Scenario(**fields)


def _route(
    rows: Sequence[TrackRoute], limit_mps: Float[np.ndarray, "agents stations"]
) -> Float[np.ndarray, "agents stations 6"]:
    """Routes as `Scenario.route` has them, with these limits."""
    xyz, yaw = np.stack([row.xyz for row in rows]), np.stack([row.yaw for row in rows])
    return np.asarray(route_table(jnp.asarray(xyz), jnp.asarray(yaw), jnp.asarray(limit_mps, jnp.float32)))


def _first(scenario: Scenario, logged: Logged, map_id: np.int32, config: SimulatorConfig) -> WorldState:
    """The state at the first logged step, with the accelerations that lead to the second."""
    there = logged.valid[:, 0]
    both = there & logged.valid[:, 1]
    speed = logged.speed[:, 0]
    push = np.where(both, logged.speed[:, 1] - speed, 0.0) / config.timestep_s
    turn = wrapped(np.subtract(logged.yaw[:, 1], logged.yaw[:, 0]))
    curvature = np.where(both & (speed > 1.0), turn / config.timestep_s / np.maximum(speed, 1.0), 0.0)
    steering = np.clip(np.arctan(wheelbase(scenario.size) * curvature), -MAX_STEERING, MAX_STEERING)
    aside = np.clip(speed**2 * curvature, -MAX_LATERAL_ACCELERATION, MAX_LATERAL_ACCELERATION)
    with jax.default_device(jax.devices("cpu")[0]):
        on_host = jax.tree.map(jnp.asarray, scenario)
        state = first_state(on_host, jnp.asarray(there), jnp.asarray(map_id), jnp.asarray(speed), config)
        state = jax.tree.map(np.asarray, state)
    return state.replace(
        scenario=scenario,
        position=logged.position[:, 0],
        yaw=logged.yaw[:, 0],
        acceleration=np.clip(push, MIN_ACCELERATION, MAX_ACCELERATION).astype(np.float32),
        lateral_acceleration=aside.astype(np.float32),
        steering=steering.astype(np.float32),
    )


def stack_worlds(worlds: Sequence[WorldState]) -> WorldState:
    """Worlds as one batch, leaves [worlds, ...]; they must have the same capacities."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *worlds)


def settle(state: WorldState, atlas: RoadAtlas, config: SimulatorConfig) -> WorldState:
    """One world whose drivers start sound: who would crash or be off the road at the first step replays the log.

    Recorded boxes overlap now and then (a truck and its trailer), and maps leave out driveways.
    """
    scenario = state.scenario
    touches = collides(state.position, state.yaw, scenario.size, state.present)
    outside = (corner_room(state, atlas, config) < -config.offroad_margin_m).any(axis=1)
    unsound = ((scenario.control == POLICY) & (touches | outside)) | ((scenario.control == IDM) & touches)
    control = jnp.where(unsound, LOG, scenario.control)
    return state.replace(
        scenario=scenario.replace(control=control),
        active=state.active & ~unsound,
        spawned=state.spawned & ~unsound,
    )
