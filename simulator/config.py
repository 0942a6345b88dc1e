"""All settings of the simulated world, each documented once."""

from dataclasses import dataclass, field

from simulator.conventions import POSE_SPACING_S
from simulator.reset.situations.config import SituationConfig


@dataclass(frozen=True)
class IdmConfig:
    """How agents with control IDM drive: the intelligent driver model (Treiber, Hennecke, Helbing 2000).

    Attributes:
        headway_s: Time gap kept to the leader (nuPlan: 1.5).
        jam_distance_m: Gap kept at a standstill (Treiber: 2).
        acceleration_mps2: Acceleration on a free road from a standstill; scaled by the agent's gain.
        deceleration_mps2: Comfortable deceleration.
        hardest_braking_mps2: No agent brakes harder (ours: the action models' limit, -5, and a little more).
        bend_mps2: Lateral acceleration at which bends are taken (ours).
        margin_m: Lateral gap kept: an agent nearer than this to the swept corridor is a leader (ours).
    """

    headway_s: float = 1.5
    jam_distance_m: float = 2.0
    acceleration_mps2: float = 1.5
    deceleration_mps2: float = 2.0
    hardest_braking_mps2: float = 6.0
    bend_mps2: float = 2.0
    margin_m: float = 0.2

    def __post_init__(self) -> None:
        for name in ("acceleration_mps2", "deceleration_mps2", "hardest_braking_mps2", "bend_mps2"):
            if getattr(self, name) <= 0:
                raise ValueError(f"idm {name}={getattr(self, name)} must be positive")
        for name in ("headway_s", "jam_distance_m", "margin_m"):
            if getattr(self, name) < 0:
                raise ValueError(f"idm {name}={getattr(self, name)} must not be negative")


@dataclass(frozen=True)
class SimulatorConfig:
    """One world's rules. Lengths in metres, times in seconds.

    Attributes:
        timestep_s: Length of a step. Must divide POSE_SPACING_S, the spacing of trajectory poses.
        num_agents: Agents per world.
        episode_s: Episode length; training resets a world after it.
        num_goals: Goals placed along each route.
        goal_spacing_m: Least and greatest distance between goals, scaled down for slow agents.
        goal_radius_m: Least and greatest radius at which a goal counts (GIGAFLOW: 2 to 12).
        route_stations: Stations along each route; with 2 m between them this bounds the route's length.
        map_variants: Affine variants of each map that worlds are drawn from, the first being the map itself; at most
            128 (as GIGAFLOW has).
        lane_change_probability: Chance per lane of at least 40 m that a route moves to a neighbouring lane.
        kind_shares: Shares of cars, trucks, cyclists and pedestrians.
        randomise_dynamics: Draw throttle, steering, acceleration and speed gains (GIGAFLOW's table) or use 1.
        green_s, yellow_s, all_red_s: A traffic light's phases.
        no_lights_share: Share of episodes without traffic lights (GIGAFLOW: 0.2).
        removed_light_share: Share of junctions whose lights are off (GIGAFLOW: 0.2).
        always_green_share: Share of junctions that stay green (GIGAFLOW: 0.05).
        all_way_stop_share: Share of junctions with lights that have stop signs at their lines instead (ours: few of
            CARLA's towns have signs).
        offroad_margin_m: A corner this far outside the drivable area is an off-road event.
        detailed_metrics: Also record fault, wrong-way driving, time to collision and comfort; costs time, so training
            leaves it off (see `simulator.metrics.driving_quality`).
        inactive_reset_share: Training resets a world when this share of its agents no longer drives.
        idm_share: Share of agents that follow their route by the intelligent driver model.
        idm: The settings of that model.
        blind_share: Share of agents that do not observe others; excluded from training and metrics (GIGAFLOW: 0.05).
        braker_share: Share of agents that brake hard without reason; excluded from training and metrics (GIGAFLOW:
            0.10).
        parked_share: Share of agents that are cars and trucks parked at the right edge of the road.
        crashed_share: Share of agents that stand on a lane at any angle, as after a crash.
        situations: Shares of worlds with a blocked lane, a turn across oncoming cars, or a merge.
    """

    timestep_s: float = 0.1
    num_agents: int = 16
    episode_s: float = 60.0
    num_goals: int = 3
    goal_spacing_m: tuple[float, float] = (40.0, 80.0)
    goal_radius_m: tuple[float, float] = (2.0, 12.0)
    route_stations: int = 192
    map_variants: int = 1
    lane_change_probability: float = 0.1
    kind_shares: tuple[float, float, float, float] = (0.86, 0.06, 0.05, 0.03)
    randomise_dynamics: bool = True
    green_s: float = 10.0
    yellow_s: float = 3.0
    all_red_s: float = 2.0
    no_lights_share: float = 0.2
    removed_light_share: float = 0.2
    always_green_share: float = 0.05
    all_way_stop_share: float = 0.0
    offroad_margin_m: float = 0.3
    detailed_metrics: bool = False
    inactive_reset_share: float = 0.4
    idm_share: float = 0.0
    idm: IdmConfig = field(default_factory=IdmConfig)
    blind_share: float = 0.0
    braker_share: float = 0.0
    parked_share: float = 0.0
    crashed_share: float = 0.0
    situations: SituationConfig = field(default_factory=SituationConfig)

    def __post_init__(self) -> None:
        steps = POSE_SPACING_S / self.timestep_s if self.timestep_s > 0 else 0.0
        if steps < 1 or abs(steps - round(steps)) > 1e-6:
            raise ValueError(
                f"timestep_s={self.timestep_s} must divide {POSE_SPACING_S} s, the spacing of trajectory poses; "
                "try 0.1 or 0.25"
            )
        for name, least in (("num_agents", 1), ("num_goals", 1), ("route_stations", 16), ("map_variants", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} must be at least {least}")
        if self.episode_s < self.timestep_s:
            raise ValueError(f"episode_s={self.episode_s} must be at least one step of {self.timestep_s} s")
        for name in ("goal_spacing_m", "goal_radius_m"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(
                    f"{name}=({low}, {high}) must be two increasing positive distances in metres"
                )
        if len(self.kind_shares) != 4 or min(self.kind_shares) < 0 or abs(sum(self.kind_shares) - 1) > 1e-6:
            raise ValueError(f"kind_shares={self.kind_shares} must be four shares that add up to 1")
        if self.situations.share > 0 and self.num_agents < 2:
            raise ValueError(f"num_agents={self.num_agents} must be at least 2 for worlds with situations")
        self._check_shares()

    def _check_shares(self) -> None:
        names = (
            "lane_change_probability",
            "no_lights_share",
            "removed_light_share",
            "always_green_share",
            "all_way_stop_share",
            "inactive_reset_share",
            *CONTROLLER_SHARES,
        )
        for name in names:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} must lie in [0, 1]")
        if self.mixed_share > 1:
            raise ValueError(f"{' + '.join(CONTROLLER_SHARES)} is {self.mixed_share:g}; it must not exceed 1")

    @property
    def mixed_share(self) -> float:
        """Share of agents that are anything but a plain policy-driven agent."""
        return sum(getattr(self, name) for name in CONTROLLER_SHARES)

    @property
    def episode_steps(self) -> int:
        """Steps in one episode."""
        return round(self.episode_s / self.timestep_s)

    @property
    def steps_per_pose(self) -> int:
        """Steps between two poses of a trajectory."""
        return round(POSE_SPACING_S / self.timestep_s)


ROUTE_SPACING_M = 2.0
"""Distance between two stations of a route."""
CONTROLLER_SHARES = ("idm_share", "parked_share", "crashed_share", "blind_share", "braker_share")
"""Settings: shares of agents with another controller than a policy, or with a fault."""
