"""GIGAFLOW's reward, term by term, with a weight of its own for every driver.

Each weight comes from a driver trait in [0, 1] (``Scenario.traits``), stretched over the range given here; the policy
sees the trait. Shaping terms are rates and get multiplied by the time step. Formulas: GIGAFLOW's table as PufferDrive
implements it; where a range differs from theirs the docstring says so.

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
| stop_sign      | -w when the front crosses a stop sign's line without a halt                                  |
| align_speed    | b in lane_align's term                                                                       |
| moving         | -w dt while moving                                                                           |
"""

from dataclasses import dataclass, fields

import jax.numpy as jnp
from jaxtyping import Array, Float

from simulator.config import SimulatorConfig
from simulator.conventions import STANDSTILL_MPS, TRAIT_NAMES
from simulator.state import Events, WorldState, nearest_station, route_rows

Range = tuple[float, float]
CROOKED = 5.0
"""What standing across the route costs, of lane_align's weight (our choice: a few degrees then cost what a few
centimetres beside the preferred line do). GIGAFLOW pays 0.0025 for being straight instead, so little that drivers do
not heed the weight; paid enough to be heeded, they go slower, since it is paid for as long as an episode lasts."""
MOST_COMFORTABLE_MPS2, MOST_COMFORTABLE_MPS3 = 3.0, 5.0
"""Acceleration and jerk that count as violations (GIGAFLOW)."""


@dataclass(frozen=True)
class RewardConfig:
    """Range of every weight; a trait of 0 gives the first value and 1 the second. Order is the order of traits."""

    collision: Range = (1.0, 10.0)  # GIGAFLOW: (0, 3)
    offroad: Range = (1.0, 8.0)  # GIGAFLOW: (0, 3)
    red_light: Range = (4.0, 8.0)  # GIGAFLOW: (0, 1), less than what waiting 10 s for green forgoes here
    comfort: Range = (0.0, 0.02)  # GIGAFLOW: (0, 0.1)
    lane_align: Range = (0.0, 0.2)  # GIGAFLOW: (0.00025, 0.025), see CROOKED
    lane_center: Range = (0.0, 0.2)  # GIGAFLOW's order is 0.05; few steps need a firmer hand in turns
    center_bias: Range = (-0.5, 0.5)
    progress: Range = (0.01, 0.02)  # our choice: a dense signal for small budgets
    reverse: Range = (0.05, 0.3)  # GIGAFLOW's order is 0.005: drivers rocked to and fro at red lights
    overspeed: Range = (0.0, 0.05)
    idle: Range = (0.0, 0.02)  # our choice, against standing still for ever
    goal: Range = (0.8, 1.2)
    stop_sign: Range = (1.0, 3.0)  # ours: a halt costs a few seconds of progress
    align_speed: Range = (0.0, 0.2)  # GIGAFLOW: (0, 1)
    moving: Range = (2.5e-5, 2.5e-5)  # GIGAFLOW's, the same for everybody

    def __post_init__(self) -> None:
        for field in fields(self):
            low, high = getattr(self, field.name)
            if low > high:
                raise ValueError(f"reward {field.name}=({low}, {high}) must be two increasing numbers")


assert tuple(field.name for field in fields(RewardConfig)) == TRAIT_NAMES


# Where evaluation departs from the middle of every range: a driver that minds crashes, lights and limits.
_CAREFUL = {
    "collision": 1.0,
    "offroad": 1.0,
    "red_light": 1.0,
    "reverse": 1.0,
    "overspeed": 1.0,
    "stop_sign": 1.0,
}


def careful_traits() -> Float[Array, " traits"]:
    """Traits of the driver that evaluation, labels and the student use."""
    return jnp.array([_CAREFUL.get(name, 0.5) for name in TRAIT_NAMES], jnp.float32)


def weights(
    traits: Float[Array, "*agents traits"], config: RewardConfig
) -> dict[str, Float[Array, "*agents"]]:
    """Reward weights by name from driver traits in [0, 1]."""
    ranges = [getattr(config, name) for name in TRAIT_NAMES]
    low = jnp.array([pair[0] for pair in ranges])
    high = jnp.array([pair[1] for pair in ranges])
    scaled = low + (high - low) * traits
    return {name: scaled[..., i] for i, name in enumerate(TRAIT_NAMES)}


def reward(
    state: WorldState, events: Events, following: WorldState, simulator: SimulatorConfig, config: RewardConfig
) -> tuple[Float[Array, " agents"], dict[str, Float[Array, " agents"]]]:
    """Reward of every agent of one world for the step from ``state`` to ``following``, and its terms by name.

    Agents that were not active at the start get 0.
    """
    terms = _terms(state, events, following, simulator, config)
    terms = {name: jnp.where(state.active, value, 0.0) for name, value in terms.items()}
    return sum(terms.values(), jnp.zeros(state.speed.shape)), terms


def _terms(
    state: WorldState, events: Events, following: WorldState, simulator: SimulatorConfig, config: RewardConfig
) -> dict[str, Array]:
    weight = weights(state.scenario.traits, config)
    dt = simulator.timestep_s
    station = nearest_station(state.scenario, following.route_m)
    _, _, route_cos, route_sin, _, limit = jnp.moveaxis(
        route_rows(state.scenario, station[:, None])[:, 0], -1, 0
    )
    yaw_cos, yaw_sin = jnp.cos(following.yaw), jnp.sin(following.yaw)
    cos, sin = yaw_cos * route_cos + yaw_sin * route_sin, yaw_sin * route_cos - yaw_cos * route_sin
    speed = state.speed  # before the step: a crash sets the next one to zero
    off_angle = jnp.abs(jnp.arctan2(sin, cos)) / (0.5 * jnp.pi)
    against = jnp.minimum(cos, 0.0) + weight["align_speed"] * jnp.minimum(cos * speed, 0.0)
    align = against - CROOKED * off_angle
    aside = jnp.minimum(jnp.abs(following.route_offset_m - weight["center_bias"]), 2.0)
    return {
        "goal": weight["goal"] * events.goal,
        "collision": -(weight["collision"] + 0.1 * jnp.abs(speed)) * events.collision,
        "offroad": -weight["offroad"] * events.offroad,
        "red_light": -weight["red_light"] * events.red_light,
        "comfort": -weight["comfort"] * _violations(state, following, dt),
        "lane_align": weight["lane_align"] * dt * align,
        "lane_center": -weight["lane_center"] * dt * aside,
        "progress": weight["progress"] * events.progress_m,
        "reverse": -weight["reverse"] * dt * (speed < 0),
        "overspeed": -weight["overspeed"] * dt * jnp.maximum(speed - limit, 0.0),
        "idle": -weight["idle"] * dt * (jnp.abs(speed) < STANDSTILL_MPS),
        "stop_sign": -weight["stop_sign"] * events.stop_sign,
        "moving": -weight["moving"] * dt * (jnp.abs(speed) >= STANDSTILL_MPS),
    }


def _violations(state: WorldState, following: WorldState, dt: float) -> Float[Array, " agents"]:
    """How many of GIGAFLOW's four comfort limits the step breaks."""
    count = jnp.zeros(state.speed.shape)
    for before, after in (
        (state.acceleration, following.acceleration),
        (state.lateral_acceleration, following.lateral_acceleration),
    ):
        count += (jnp.abs(after) > MOST_COMFORTABLE_MPS2) * 1.0
        count += (jnp.abs(after - before) / dt > MOST_COMFORTABLE_MPS3) * 1.0
    return count
