"""Worlds made from logs: one `LoggedScene` becomes the initial state of an episode.

On the host. `ReplayConfig` assigns a controller to every track: tracks that replay the log follow it exactly, others
follow their logged path by policy or by the intelligent driver model and may deviate from the log in time and speed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from simulator.atlas.edge_distance import corner_edge_distance
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
from simulator.logs.traffic_log import TrafficLog, wrapped
from simulator.reset.bodies import SPEED_SCALE
from simulator.reset.initial_state import initial_state, new_scenario
from simulator.reset.log_routes import Lanes, TrackRoute, route_of_track, straight_route
from simulator.reset.log_tracks import (
    LogTracks,
    chosen_tracks,
    for_agents,
    num_log_steps,
    padded_log,
    tracks_at_simulator_steps,
)
from simulator.state import IDM, LOG, PARKED, POLICY, LogReplay, Scenario, WorldState, route_table, wheelbase

FORWARD_RAD = np.deg2rad(60.0)
"""A track whose first heading differs more from its path drives in reverse and replays the log."""
STANDS_MPS = 1.0
"""A track that ends slower than this is stationary at its end."""
_ABSENT_SIZE = (4.0, 2.0, 1.5)  # m, of agents without a track


@dataclass(frozen=True)
class ReplayConfig:
    """Controllers of the tracks of a log. Tracks without another controller replay the log.

    Other controllers are possible only for tracks that are present at the start, move forwards by `least_drive_m` or
    more and are of one of `kinds`; shares are of those.

    Attributes:
        policy_share: Share of them that a policy drives; the ego comes first.
        idm_share: Share of them that the intelligent driver model drives.
        ego_only: A policy drives the ego alone (`policy_share` is ignored).
        kinds: Kinds of agents that may be driven.
        least_drive_m: Tracks that cover less replay the log: their goal would be where they start.
    """

    policy_share: float = 1.0
    idm_share: float = 0.0
    ego_only: bool = False
    kinds: tuple[str, ...] = ("car", "truck")
    least_drive_m: float = 5.0

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
        if self.least_drive_m <= 0:
            raise ValueError(f"least_drive_m={self.least_drive_m} must be positive")

    @property
    def has_idm(self) -> bool:
        """Whether the intelligent driver model is compiled into the step of such worlds."""
        return self.idm_share > 0


def worlds_from_log(
    scene: LoggedScene,
    map_id: int,
    config: SimulatorConfig,
    replay: ReplayConfig,
    generator: np.random.Generator,
    count: int = 1,
    steps: int | None = None,
    stops: int | None = None,
    warn: bool = True,
) -> list[WorldState]:
    """Initial states of ``count`` worlds of one scene on the map ``map_id`` of an atlas; leaves are numpy arrays.

    The worlds differ in the controllers and in the traits of the agents. Where the simulator's step is a multiple of
    the log's, LOG agents will be exactly where the log has them; else the log is interpolated. Goal radii are the
    smallest of the configuration, so that a driver goes where its track went. ``steps`` and ``stops`` are the
    capacities to pad to, None for as many as the scene has. ``warn`` logs the names of tracks that do not fit.

    Raises ValueError where the scene exceeds a capacity, has fewer than two states at the simulator's step, or where
    ``ego_only`` is set for a scene without a named ego.
    """
    name = f"{scene.log.source_file}: scene {scene.log.name}"
    num_steps = num_log_steps(scene.log, config)
    if num_steps < 2:
        raise ValueError(
            f"{name}: {scene.log.num_steps} steps of {scene.log.timestep_s:g} s are {num_steps} of timestep_s="
            f"{config.timestep_s:g}; expected at least 2"
        )
    if replay.ego_only and scene.log.ego_track < 0:
        raise ValueError(f"{name}: does not name its ego; ego_only expects scenes that do")
    for what, found, capacity in (
        ("steps", num_steps, steps),
        ("stop lines", len(scene.log.light_state), stops),
    ):
        if capacity is not None and found > capacity:
            raise ValueError(f"{name}: has {found} {what}; expected at most {capacity}, the capacity")
    tracks = chosen_tracks(scene.log, tracks_at_simulator_steps(scene.log, config), config.num_agents, warn)
    can_drive, routes = _drivable(scene.log, tracks, Lanes(scene.road_map), config, replay)
    log = padded_log(tracks, config.num_agents, steps, stops)
    worlds = []
    for _ in range(count):
        control = for_agents(
            _control(scene.log, tracks, can_drive, replay, generator), config.num_agents, PARKED
        )
        traits = generator.uniform(size=(config.num_agents, NUM_TRAITS)).astype(np.float32)
        scenario = _scenario(scene.log, tracks, routes, control, traits, config, replay.has_idm)
        worlds.append(_initial_state(scenario, log, map_id, config))
    return worlds


def _drivable(
    log: TrafficLog, tracks: LogTracks, lanes: Lanes, config: SimulatorConfig, replay: ReplayConfig
) -> tuple[Bool[np.ndarray, " tracks"], list[TrackRoute]]:
    """Tracks for which other controllers than the log are possible, and the routes of all tracks."""
    kinds = [KIND_NAMES.index(kind) for kind in replay.kinds]
    can_drive = np.isin(log.kind[tracks.number], kinds) & tracks.valid[:, 0]
    routes = []
    for row in range(len(tracks.number)):
        start = int(tracks.valid[row].argmax())
        position, yaw = tracks.position[row, start], float(tracks.yaw[row, start])
        route = straight_route(position, yaw, lanes, config.route_stations)
        if can_drive[row]:
            driven = route_of_track(
                tracks.position[row], tracks.valid[row], yaw, lanes, config.route_stations
            )
            is_ego = tracks.number[row] == log.ego_track
            far_enough = driven.driven_m >= replay.least_drive_m or (replay.ego_only and is_ego)
            can_drive[row] = far_enough and np.cos(driven.yaw[0] - yaw) > np.cos(FORWARD_RAD)
            route = driven if can_drive[row] else route
        routes.append(route)
    return can_drive, routes


def _control(
    log: TrafficLog,
    tracks: LogTracks,
    can_drive: Bool[np.ndarray, " tracks"],
    replay: ReplayConfig,
    generator: np.random.Generator,
) -> Int[np.ndarray, " tracks"]:
    """Controller of each track: POLICY, IDM or LOG."""
    control = np.full(len(tracks.number), LOG)
    is_ego = tracks.number == log.ego_track
    drivers = generator.permutation(np.flatnonzero(can_drive))
    drivers = drivers[np.argsort(~is_ego[drivers], kind="stable")]
    if replay.ego_only:
        by_policy = int(is_ego[drivers].sum())
        driven = by_policy + round(replay.idm_share * len(drivers))
    else:  # both ends are rounded, so that shares that add up to 1 leave no track to the log
        by_policy = round(replay.policy_share * len(drivers))
        driven = round((replay.policy_share + replay.idm_share) * len(drivers))
    control[drivers[:by_policy]] = POLICY
    control[drivers[by_policy:driven]] = IDM
    return control


def _scenario(
    log: TrafficLog,
    tracks: LogTracks,
    routes: Sequence[TrackRoute],
    control: Int[np.ndarray, " agents"],
    traits: Float[np.ndarray, "agents features"],
    config: SimulatorConfig,
    has_idm: bool,
) -> Scenario:
    """The scenario without its `LogReplay`; agents beyond the tracks are absent."""
    agents, number = config.num_agents, tracks.number
    no_route = TrackRoute(
        np.zeros((config.route_stations, 3), np.float32),
        np.zeros(config.route_stations, np.float32),
        np.ones(config.route_stations, np.float32),
        0.0,
        0.0,
    )
    rows = [*routes, *[no_route] * (agents - len(routes))]
    size = for_agents(log.size[number], agents, 0.0)
    size[len(number) :] = _ABSENT_SIZE
    kind = for_agents(log.kind[number], agents, 0)
    fastest = for_agents(np.abs(np.where(tracks.valid, tracks.speed, 0.0)).max(axis=1), agents, 0.0)
    idm = control == IDM
    limit = np.stack([row.limit_mps for row in rows])
    # IDM agents keep the larger of the speed limit and their highest logged speed.
    limit = np.where(idm[:, None], np.maximum(limit, fastest[:, None]), limit)
    xyz, yaw = np.stack([row.xyz for row in rows]), np.stack([row.yaw for row in rows])
    goal = np.where(idm, [row.end_m for row in rows], [row.driven_m for row in rows]).astype(np.float32)
    stands = for_agents(np.abs(tracks.speed[:, -1]) < STANDS_MPS, agents, False)
    stands &= np.array([row.end_m <= row.driven_m for row in rows])
    speed_gain = np.maximum(np.array(SPEED_SCALE)[kind], fastest / MAX_SPEED)
    route = np.asarray(route_table(jnp.asarray(xyz), jnp.asarray(yaw), jnp.asarray(limit, jnp.float32)))
    with jax.default_device(jax.devices("cpu")[0]):
        return new_scenario(
            size=jnp.asarray(size),
            kind=jnp.asarray(kind, jnp.int32),
            speed_gain=jnp.asarray(speed_gain, jnp.float32),
            traits=jnp.asarray(traits),
            route=jnp.asarray(route),
            goal_m=jnp.asarray(np.repeat(goal[:, None], config.num_goals, axis=1)),
            num_goals=jnp.asarray(np.where(idm & stands, 0, 1), jnp.int32),
            goal_radius_m=jnp.full(agents, config.goal_radius_m[0], jnp.float32),
            control=jnp.asarray(control, jnp.int32),
            has_idm=has_idm,
        )


def _initial_state(scenario: Scenario, log: LogReplay, map_id: int, config: SimulatorConfig) -> WorldState:
    """The state at the first logged step, with the accelerations that lead to the second; leaves are numpy arrays."""
    present = log.valid[:, 0]
    both = present & log.valid[:, 1]
    speed = log.speed[:, 0]
    acceleration = np.where(both, log.speed[:, 1] - speed, 0.0) / config.timestep_s
    turn = wrapped(np.subtract(log.yaw[:, 1], log.yaw[:, 0]))
    curvature = np.where(both & (speed > 1.0), turn / config.timestep_s / np.maximum(speed, 1.0), 0.0)
    length = np.asarray(wheelbase(scenario.size))
    steering = np.clip(np.arctan(length * curvature), -MAX_STEERING, MAX_STEERING)
    lateral = np.clip(speed**2 * curvature, -MAX_LATERAL_ACCELERATION, MAX_LATERAL_ACCELERATION)
    with jax.default_device(jax.devices("cpu")[0]):
        state = initial_state(scenario, jnp.asarray(present), jnp.int32(map_id), jnp.asarray(speed), config)
        state = jax.tree.map(np.asarray, state)
    return state.replace(
        scenario=state.scenario.replace(log=log),
        position=log.position[:, 0],
        yaw=log.yaw[:, 0],
        acceleration=np.clip(acceleration, MIN_ACCELERATION, MAX_ACCELERATION).astype(np.float32),
        lateral_acceleration=lateral.astype(np.float32),
        steering=steering.astype(np.float32),
    )


def stack_worlds(worlds: Sequence[WorldState]) -> WorldState:
    """Worlds of the same capacities as one batch, leaves [worlds, ...], numpy."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *worlds)


def demote_invalid_to_replay(state: WorldState, atlas: RoadAtlas, config: SimulatorConfig) -> WorldState:
    """One world in which drivers whose start is invalid replay the log instead.

    Invalid are policy-driven agents that overlap another or are off-road, and IDM agents that overlap another. Logged
    boxes overlap now and then (a truck and its trailer), and maps leave out driveways.
    """
    scenario = state.scenario
    touches = collides(state.position, state.yaw, scenario.size, state.present)
    outside = (corner_edge_distance(state, atlas, config) < -config.offroad_margin_m).any(axis=1)
    by_policy, by_idm = scenario.control == POLICY, scenario.control == IDM
    invalid = (by_policy & (touches | outside)) | (by_idm & touches)
    control = jnp.where(invalid, LOG, scenario.control)
    return state.replace(
        scenario=scenario.replace(control=control),
        active=state.active & ~invalid,
        spawned=state.spawned & ~invalid,
    )
