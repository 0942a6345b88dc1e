"""Every term of the reward by hand, and that weights follow the traits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simulator.atlas.load import load_atlas
from simulator.config import SimulatorConfig
from simulator.conventions import NUM_TRAITS, TRAIT_NAMES
from simulator.reset.spawn import reset
from simulator.state import Events, WorldState
from teacher.reward import RewardConfig, check_trait_names, default_traits, reward, weights

SIMULATOR = SimulatorConfig(timestep_s=0.25, num_agents=3)
CONFIG = RewardConfig()
REWARD = jax.jit(reward, static_argnums=(3, 4))


@pytest.fixture(scope="module")
def state() -> WorldState:
    """Three active agents on their routes at 10 m/s, limit 20 m/s, all traits 1."""
    begin = jax.jit(reset, static_argnums=3)
    world = begin(jax.random.key(0), load_atlas(["Town02"]), jnp.int32(0), SIMULATOR)
    scenario = world.scenario.replace(
        traits=jnp.ones((3, NUM_TRAITS)), route=world.scenario.route.at[..., 5].set(20.0)
    )
    return world.replace(
        scenario=scenario, speed=jnp.full(3, 10.0), active=jnp.ones(3, bool), yaw=scenario.route_yaw[:, 0]
    )


def events(**changes: object) -> Events:
    none = jnp.zeros(3, bool)
    values = dict.fromkeys(("collision", "offroad", "red_light", "stop_sign", "goal", "arrived"), none)
    return Events(**(values | {"progress_m": jnp.zeros(3)} | changes))


def terms(state: WorldState, what: Events, following: WorldState | None = None) -> dict[str, np.ndarray]:
    _, named = REWARD(state, what, following or state, SIMULATOR, CONFIG)
    return {name: np.asarray(value) for name, value in named.items()}


def test_events_by_hand(state: WorldState) -> None:
    first = jnp.array([True, False, False])
    named = terms(state, events(collision=first, goal=~first, progress_m=jnp.array([0.0, 2.5, -1.0])))
    np.testing.assert_allclose(named["collision"], [-(CONFIG.collision[1] + 0.1 * 10.0), 0, 0], rtol=1e-6)
    np.testing.assert_allclose(named["goal"], [0, CONFIG.goal[1], CONFIG.goal[1]], rtol=1e-6)
    np.testing.assert_allclose(named["progress"], CONFIG.progress[1] * np.array([0, 2.5, -1.0]), rtol=1e-6)
    off = terms(state, events(offroad=first, red_light=first, stop_sign=~first))
    np.testing.assert_allclose(off["offroad"], [-CONFIG.offroad[1], 0, 0], rtol=1e-6)
    np.testing.assert_allclose(off["red_light"], [-CONFIG.red_light[1], 0, 0], rtol=1e-6)
    np.testing.assert_allclose(off["stop_sign"], [0, -CONFIG.stop_sign[1], -CONFIG.stop_sign[1]], rtol=1e-6)


def test_shaping_by_hand(state: WorldState) -> None:
    dt = 0.25
    # aligned: min(1, 0) + 0 - 5 * 0 = 0
    np.testing.assert_allclose(terms(state, events())["lane_align"], 0.0, atol=1e-6)
    # a tenth of a right angle to the left: 0 + 0 - 5 * 0.1 = -0.5
    askew = state.replace(yaw=state.yaw + 0.05 * np.pi)
    np.testing.assert_allclose(
        terms(state, events(), askew)["lane_align"], CONFIG.lane_align[1] * dt * -0.5, rtol=1e-4
    )
    # against traffic at 10 m/s: -1 + 0.2 * (-10) - 5 * 2 = -13
    wrong = state.replace(yaw=state.yaw + np.pi)
    np.testing.assert_allclose(
        terms(state, events(), wrong)["lane_align"], CONFIG.lane_align[1] * dt * -13.0, rtol=1e-4
    )
    # preferred line 0.5 m to the left (trait 1); driving 1.5 m right of the route is 2 m from it
    aside = state.replace(route_offset_m=jnp.full(3, -1.5))
    np.testing.assert_allclose(
        terms(state, events(), aside)["lane_center"], -CONFIG.lane_center[1] * dt * 2.0, rtol=1e-5
    )
    fast = state.replace(speed=jnp.array([24.0, -1.0, 0.0]))
    named = terms(fast, events())
    np.testing.assert_allclose(named["overspeed"], [-CONFIG.overspeed[1] * dt * 4.0, 0, 0], rtol=1e-5)
    np.testing.assert_allclose(named["reverse"], [0, -CONFIG.reverse[1] * dt, 0], rtol=1e-5)
    np.testing.assert_allclose(named["idle"], [0, 0, -CONFIG.idle[1] * dt], rtol=1e-5)
    np.testing.assert_allclose(named["moving"], -2.5e-5 * dt * np.array([1, 1, 0]), rtol=1e-5)
    # from nothing: 4 m/s2 in 0.25 s is a jerk of 16 m/s3 as well; 1 m/s2 is one of 4 m/s3, which is fine
    still = state.replace(acceleration=jnp.zeros(3), lateral_acceleration=jnp.zeros(3))
    rough = still.replace(acceleration=jnp.array([-4.0, 0, 1]), lateral_acceleration=jnp.array([3.5, 3.5, 1]))
    comfort = terms(still, events(), rough)["comfort"]
    np.testing.assert_allclose(comfort, -CONFIG.comfort[1] * np.array([4, 2, 0]), rtol=1e-5)
    held = terms(rough, events(), rough)["comfort"]
    np.testing.assert_allclose(held, -CONFIG.comfort[1] * np.array([2, 1, 0]), rtol=1e-5)


def test_total_is_the_sum_and_inactive_agents_get_nothing(state: WorldState) -> None:
    sleeping = state.replace(active=jnp.array([True, False, True]))
    total, named = REWARD(sleeping, events(collision=jnp.ones(3, bool)), state, SIMULATOR, CONFIG)
    np.testing.assert_allclose(total, sum(named.values()), rtol=1e-6)
    assert total[1] == 0.0
    assert (total[jnp.array([0, 2])] < 0).all()


def test_traits_stretch_over_the_ranges() -> None:
    low, high = weights(jnp.zeros(NUM_TRAITS), CONFIG), weights(jnp.ones(NUM_TRAITS), CONFIG)
    for name in TRAIT_NAMES:
        np.testing.assert_allclose([low[name], high[name]], getattr(CONFIG, name), rtol=1e-6)
    assert default_traits().shape == (NUM_TRAITS,)
    assert default_traits()[TRAIT_NAMES.index("collision")] == 1.0


def test_ranges_must_increase() -> None:
    with pytest.raises(ValueError, match=r"reward collision=\(3.0, 1.0\) must be two increasing numbers"):
        RewardConfig(collision=(3.0, 1.0))


def test_a_trait_without_range_or_term_is_named(state: WorldState, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="RewardConfig has no range for honking, waving of simulator"):
        check_trait_names(["collision"], ["collision", "honking", "waving"])
    with pytest.raises(ValueError, match=r"TRAIT_NAMES lacks honking of teacher\.reward\.RewardConfig"):
        check_trait_names(["collision", "honking"], ["collision"])
    monkeypatch.setattr("teacher.reward.TRAITS_WITHOUT_TERM", ("align_speed",))
    with pytest.raises(ValueError, match="has no term for center_bias of simulator"):
        reward(state, events(), state, SIMULATOR, CONFIG)
