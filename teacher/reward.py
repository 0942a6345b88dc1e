"""GIGAFLOW's reward, term by term, with reward weights that differ between agents.

Each weight comes from a trait of the agent in [0, 1] (``Scenario.traits``), mapped linearly to the range in
`RewardConfig`; the policy observes the trait (reward conditioning). Shaping terms are rates and are multiplied by the
time step. Formulas: GIGAFLOW's table as PufferDrive implements it; where a range differs, the comment beside it says
so.

To add a term: its name in `simulator.conventions.TRAIT_NAMES`, its range in `RewardConfig`, its formula in `reward`.

| trait          | term                                                                                       |
|----------------|--------------------------------------------------------------------------------------------|
| collision      | -(w + 0.1 speed) when a collision starts                                                     |
| offroad        | -w when the box leaves the drivable area                                                     |
| red_light      | -w when the front crosses a stop line on red                                                 |
| comfort        | -w x number of violations (either acceleration above 3 m/s2, either jerk above 5 m/s3)       |
| lane_align     | +w dt (min(cos, 0) + b min(cos v, 0) - 5 angle / (pi / 2)), relative to the route            |
| lane_center    | -w dt (distance from the preferred line), at most 2 m of it                                  |
| center_bias    | the preferred line's offset from the middle of the route, m                                  |
| progress       | +w per metre gained along the route                                                          |
| reverse        | -w dt while moving backwards                                                                 |
| overspeed      | -w dt x (speed above the limit, m/s)                                                         |
| idle           | -w dt while standing                                                                        |
| goal           | +w at each goal                                                                              |
| stop_sign      | -w when the front crosses a stop sign's line without a full stop                             |
| align_speed    | b in lane_align's term                                                                       |
| moving         | -w dt while moving                                                                           |
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import jax.numpy as jnp
from jaxtyping import Array, Float

from simulator.config import SimulatorConfig
from simulator.conventions import STANDSTILL_MPS, TRAIT_NAMES
from simulator.state import Events, WorldState, nearest_station, route_rows
from teacher.obstacles import obstacle_on_route

Range = tuple[float, float]
ANGLE_PENALTY = 5.0
"""Cost of standing at a right angle to the route, as a multiple of lane_align's weight (our choice: a few degrees then
cost as much as a few centimetres of lateral offset). GIGAFLOW pays 0.0025 for driving straight instead, too little for
policies to heed the weight; a larger bonus makes them drive slower, since it is paid for as long as an episode
lasts."""
MOST_COMFORTABLE_MPS2, MOST_COMFORTABLE_MPS3 = 3.0, 5.0
"""Acceleration and jerk above which a step counts as a comfort violation (GIGAFLOW)."""
FREE_ANGLE = 1.0 / 3.0
"""Angle to the route, as a share of a right angle, that costs nothing while an agent passes an obstacle (ours)."""
MOST_PASSING_M = 100.0
TRAITS_WITHOUT_TERM = ("center_bias", "align_speed")
"""Traits that change other terms (lane_center, lane_align) instead of weighting one of their own."""


@dataclass(frozen=True)
class RewardConfig:
    """Range of every reward weight: a trait of 0 gives the first value and 1 the second.

    Attributes:
        passing_m: Within this distance along the route, ahead or behind, of a vehicle that stands on it for good,
            lane_center costs nothing and lane_align only what exceeds FREE_ANGLE (0: as everywhere).
    """

    collision: Range = (1.0, 10.0)  # GIGAFLOW: (0, 3)
    offroad: Range = (1.0, 8.0)  # GIGAFLOW: (0, 3)
    red_light: Range = (4.0, 8.0)  # GIGAFLOW: (0, 1), less than what waiting 10 s for green forgoes here
    comfort: Range = (0.0, 0.02)  # GIGAFLOW: (0, 0.1)
    lane_align: Range = (0.0, 0.2)  # GIGAFLOW: (0.00025, 0.025), see ANGLE_PENALTY
    lane_center: Range = (0.0, 0.2)  # GIGAFLOW's order is 0.05; our shorter trainings need more in turns
    center_bias: Range = (-0.5, 0.5)
    progress: Range = (0.01, 0.02)  # our choice: a dense signal for small budgets
    reverse: Range = (0.05, 0.3)  # GIGAFLOW's order is 0.005: policies rocked back and forth at red lights
    overspeed: Range = (0.0, 0.05)
    idle: Range = (0.0, 0.02)  # our choice, against standing still forever
    goal: Range = (0.8, 1.2)
    stop_sign: Range = (1.0, 3.0)  # ours: a full stop costs a few seconds of progress
    align_speed: Range = (0.0, 0.2)  # GIGAFLOW: (0, 1)
    moving: Range = (2.5e-5, 2.5e-5)  # GIGAFLOW's, the same for all agents
    passing_m: float = 0.0

    def __post_init__(self) -> None:
        for name in range_names():
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"reward {name}=({low}, {high}) must be two increasing numbers")
        if not 0 <= self.passing_m <= MOST_PASSING_M:
            raise ValueError(
                f"reward passing_m={self.passing_m} must lie between 0 and {MOST_PASSING_M:g} metres"
            )


def range_names() -> list[str]:
    """The fields of `RewardConfig` that are ranges of weights."""
    return [field.name for field in fields(RewardConfig) if field.name != "passing_m"]


def check_trait_names(ranges: Sequence[str], traits: Sequence[str]) -> None:
    """Raises ValueError naming the traits without a range or, where there are none, the ranges without a trait."""
    without_range = [name for name in traits if name not in ranges]
    without_trait = [name for name in ranges if name not in traits]
    if without_range:
        raise ValueError(
            f"teacher.reward.RewardConfig has no range for {', '.join(without_range)} of "
            "simulator.conventions.TRAIT_NAMES; add a field"
        )
    if without_trait:
        raise ValueError(
            f"simulator.conventions.TRAIT_NAMES lacks {', '.join(without_trait)} of "
            "teacher.reward.RewardConfig; add the name"
        )


check_trait_names(range_names(), TRAIT_NAMES)

_DEFAULT_TRAITS = {  # all others are 0.5
    "collision": 1.0,
    "offroad": 1.0,
    "red_light": 1.0,
    "reverse": 1.0,
    "overspeed": 1.0,
    "stop_sign": 1.0,
}


def default_traits() -> Float[Array, " traits"]:
    """The conditioning of evaluation, labels and the student: the largest weight for collisions, leaving the road, red
    lights, stop signs, speeding and reversing, the middle of the range for all others (our choice)."""
    return jnp.array([_DEFAULT_TRAITS.get(name, 0.5) for name in TRAIT_NAMES], jnp.float32)


def weights(
    traits: Float[Array, "*agents traits"], config: RewardConfig
) -> dict[str, Float[Array, "*agents"]]:
    """Reward weights by trait name, from traits in [0, 1]."""
    ranges = [getattr(config, name) for name in TRAIT_NAMES]
    low = jnp.array([pair[0] for pair in ranges])
    high = jnp.array([pair[1] for pair in ranges])
    scaled = low + (high - low) * traits
    return {name: scaled[..., i] for i, name in enumerate(TRAIT_NAMES)}


def reward(
    state: WorldState,
    events: Events,
    next_state: WorldState,
    simulator: SimulatorConfig,
    config: RewardConfig,
) -> tuple[Float[Array, " agents"], dict[str, Float[Array, " agents"]]]:
    """Reward of every agent of one world for the step from ``state`` to ``next_state``, and its terms by name.

    Agents that were not active at the start of the step get 0.
    """
    weight = weights(state.scenario.traits, config)
    dt = simulator.timestep_s
    station = nearest_station(state.scenario, next_state.route_m)
    _, _, route_cos, route_sin, _, limit = jnp.moveaxis(
        route_rows(state.scenario, station[:, None])[:, 0], -1, 0
    )
    yaw_cos, yaw_sin = jnp.cos(next_state.yaw), jnp.sin(next_state.yaw)
    cos, sin = yaw_cos * route_cos + yaw_sin * route_sin, yaw_sin * route_cos - yaw_cos * route_sin
    speed = state.speed  # before the step: a collision sets the speed after it to zero
    off_angle = jnp.abs(jnp.arctan2(sin, cos)) / (0.5 * jnp.pi)
    aside_m = jnp.abs(next_state.route_offset_m - weight["center_bias"])
    if config.passing_m > 0:
        passing = obstacle_on_route(next_state, config.passing_m)
        off_angle = jnp.where(passing, jnp.maximum(off_angle - FREE_ANGLE, 0.0), off_angle)
        aside_m = jnp.where(passing, 0.0, aside_m)
    against = jnp.minimum(cos, 0.0) + weight["align_speed"] * jnp.minimum(cos * speed, 0.0)
    align = against - ANGLE_PENALTY * off_angle
    offset_m = jnp.minimum(aside_m, 2.0)
    terms = {
        "goal": weight["goal"] * events.goal,
        "collision": -(weight["collision"] + 0.1 * jnp.abs(speed)) * events.collision,
        "offroad": -weight["offroad"] * events.offroad,
        "red_light": -weight["red_light"] * events.red_light,
        "comfort": -weight["comfort"] * _violations(state, next_state, dt),
        "lane_align": weight["lane_align"] * dt * align,
        "lane_center": -weight["lane_center"] * dt * offset_m,
        "progress": weight["progress"] * events.progress_m,
        "reverse": -weight["reverse"] * dt * (speed < 0),
        "overspeed": -weight["overspeed"] * dt * jnp.maximum(speed - limit, 0.0),
        "idle": -weight["idle"] * dt * (jnp.abs(speed) < STANDSTILL_MPS),
        "stop_sign": -weight["stop_sign"] * events.stop_sign,
        "moving": -weight["moving"] * dt * (jnp.abs(speed) >= STANDSTILL_MPS),
    }
    missing = [name for name in TRAIT_NAMES if name not in terms and name not in TRAITS_WITHOUT_TERM]
    if missing:
        raise ValueError(
            f"teacher.reward.reward has no term for {', '.join(missing)} of simulator.conventions.TRAIT_NAMES; add it "
            "(or name the trait in TRAITS_WITHOUT_TERM)"
        )
    terms = {name: jnp.where(state.active, value, 0.0) for name, value in terms.items()}
    return sum(terms.values(), jnp.zeros(state.speed.shape)), terms


def _violations(state: WorldState, next_state: WorldState, dt: float) -> Float[Array, " agents"]:
    """How many of GIGAFLOW's four comfort limits the step exceeds: 0 to 4."""
    count = jnp.zeros(state.speed.shape)
    for before, after in (
        (state.acceleration, next_state.acceleration),
        (state.lateral_acceleration, next_state.lateral_acceleration),
    ):
        count += (jnp.abs(after) > MOST_COMFORTABLE_MPS2) * 1.0
        count += (jnp.abs(after - before) / dt > MOST_COMFORTABLE_MPS3) * 1.0
    return count
