"""Imitation of a made-up log whose drivers follow a rule: what they see, do and earn is right, and it is learnt."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simulator.atlas.scene_grids import load_scene_atlas
from simulator.config import SimulatorConfig
from simulator.logs.scene_pack import LoggedScene, ScenePackWriter
from simulator.logs.split import is_held_out
from simulator.reset.log_scenario import ReplayConfig, demote_invalid_to_replay, worlds_from_log
from simulator.step import step
from teacher.config import TeacherConfig
from teacher.network.actor_critic import NetworkConfig, TeacherNetwork, init_params
from teacher.observation.observe import ObservationConfig, example_observation
from teacher.ppo.losses import PPOConfig
from teacher.pretraining.config import PretrainConfig
from teacher.pretraining.demonstrations import Demonstrations, ExpertSamples, gather_demonstrations
from teacher.pretraining.log_expert import demonstrate, discounted, expert_start
from teacher.pretraining.pretrain import action_shares, cloning_loss, held_out_evaluator, pretrain
from teacher.reward import reward

STEPS, STEP_S = 25, 0.25  # of the made-up log, see `make_scene`
CARS, ROOM = 4, 5
FIRST, LOST = 0, 3  # a car that is seen throughout, and one that is lost for a while
SIMULATOR = SimulatorConfig(timestep_s=STEP_S, num_agents=ROOM, route_stations=128, num_goals=2)
CONFIG = TeacherConfig(
    name="imitation",
    simulator=SIMULATOR,
    observation=ObservationConfig(others=3, lanes=3, edges=3, stops=1),
    network=NetworkConfig(flat_widths=(64,), set_widths=(8,), trunk_widths=(64,)),
    ppo=PPOConfig(discount=0.9, minibatch_size=64),
)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIGAPIXEL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def pack(tmp_path_factory, make_scene) -> Path:
    """Scenes of both parts."""
    path = tmp_path_factory.mktemp("packs") / "rule.h5"
    scenes = [make_scene(number) for number in range(16)]
    assert {is_held_out(scene.log.name) for scene in scenes} == {True, False}
    with ScenePackWriter(path) as writer:
        for scene in scenes:
            writer.add(scene)
    return path


@pytest.fixture(scope="module")
def world(make_scene):
    """One scene as a world, its atlas, and what its experts did; the agents' order is that of the tracks."""
    scene = make_scene(0)
    atlas = load_scene_atlas([scene.road_map])
    first = worlds_from_log(scene, 0, SIMULATOR, ReplayConfig(), np.random.default_rng(0))[0]
    first = jax.jit(partial(demote_invalid_to_replay, config=SIMULATOR))(
        jax.tree.map(jnp.asarray, first), atlas
    )
    places = np.asarray(first.position[:CARS, 0])
    rows = [int(np.argmin(np.abs(places - x))) for x in scene.log.position[:, 0, 0]]
    shown = jax.jit(lambda state: demonstrate(state, atlas, SIMULATOR, CONFIG))(first)
    return first, atlas, rows, jax.device_get(shown)


def test_returns_by_hand():
    reward = jnp.asarray([[1.0, 0.0], [2.0, 0.0], [4.0, 8.0]])
    expected = [[1 + 0.5 * 2 + 0.25 * 4, 2.0], [2 + 0.5 * 4, 4.0], [4.0, 8.0]]
    np.testing.assert_allclose(discounted(reward, 0.5), expected)


def test_experts_stay_on_the_log_and_act_while_it_lasts(world):
    _, _, rows, shown = world
    assert shown.apart_m[shown.acts].max() < 0.3
    assert not shown.acts[:, CARS:].any()  # empty slots
    alive = shown.acts.sum(axis=0)
    assert (
        alive[rows[:LOST]] > 0.7 * STEPS
    ).all()  # until they arrive, within the radius of their last place
    assert alive[rows[LOST]] == 9  # the tenth state is the last before the gap


def test_only_a_drive_that_arrives_has_a_value(world):
    _, _, rows, shown = world
    np.testing.assert_array_equal(shown.valued[:, rows[:LOST]], shown.acts[:, rows[:LOST]])
    assert not shown.valued[:, rows[LOST]].any()


def test_the_same_actions_earn_a_policy_the_same(world):
    """Only the first agent follows the demonstration, through the plain simulator; the others coast along."""
    first, atlas, rows, shown = world

    def drive(state, action):
        following, events = step(state, action, atlas, SIMULATOR)
        return following, reward(state, events, following, SIMULATOR, CONFIG.reward)[0]

    @jax.jit
    def again(state):
        state, _ = expert_start(state, state.scenario.log.valid, STEP_S)
        return jax.lax.scan(drive, state, jnp.asarray(shown.action))

    last, earned = again(first)
    row = rows[FIRST]
    assert not last.active[row]  # it arrived
    assert last.goal_index[row] == 1
    total = np.sum(np.asarray(earned)[:, row] * CONFIG.ppo.discount ** np.arange(STEPS - 1))
    assert shown.target[0, row] == pytest.approx(total, rel=1e-4)
    assert total > 0.5 * 0.9**STEPS  # the goal alone is worth that much


def test_values_that_are_not_known_are_not_learnt():
    samples = ExpertSamples(None, jnp.asarray([1, 0]), jnp.asarray([3.0, 100.0]), jnp.asarray([True, False]))
    logits = jnp.log(jnp.asarray([[0.25, 0.75], [0.5, 0.5]]))
    loss, losses = cloning_loss(logits, jnp.asarray([1.0, 0.0]), samples, 0.5)
    assert losses["policy"] == pytest.approx(-0.5 * (np.log(0.75) + np.log(0.5)), rel=1e-6)
    assert losses["value"] == pytest.approx(4.0)
    assert loss == pytest.approx(float(losses["policy"]) + 2.0, rel=1e-6)


def test_action_shares_leave_nothing_impossible():
    np.testing.assert_allclose(action_shares(np.array([0, 0, 2]), 4), [3 / 7, 1 / 7, 2 / 7, 1 / 7])


NETWORK = TeacherNetwork(CONFIG.network)


def start(key):
    return jax.jit(lambda key: init_params(NETWORK, example_observation(CONFIG.observation), key))(key)


def test_held_out_drivers_are_foreseen_and_a_seed_fixes_everything(pack):
    config = PretrainConfig(
        packs=(str(pack),),
        epochs=40,
        minibatch_size=128,
        weight_decay=0.01,
        num_agents=ROOM,
        worlds_per_scene=1,
    )
    rows: list[dict[str, float]] = []
    before = start(jax.random.key(0))
    after = pretrain(before, NETWORK, config, CONFIG, jax.random.key(1), rows.append)
    assert [row["epoch"] for row in rows] == list(range(41))
    last = {name.removeprefix("pretrain/held_out/"): value for name, value in rows[-1].items()}
    assert last["cross_entropy"] < 0.9 * last["marginal_cross_entropy"]
    assert last["explained_variance"] > 0.5
    first = {name.removeprefix("pretrain/held_out/"): value for name, value in rows[0].items()}
    assert first["cross_entropy"] == pytest.approx(np.log(12), rel=0.1)  # nearly uniform first actions
    again = pretrain(start(jax.random.key(0)), NETWORK, config, CONFIG, jax.random.key(1))
    for one, other in zip(jax.tree.leaves(after), jax.tree.leaves(again)):
        np.testing.assert_array_equal(one, other)


def test_no_pack_is_no_pretraining():
    params = {"kernel": jnp.ones(3)}
    assert pretrain(params, NETWORK, PretrainConfig(), CONFIG, jax.random.key(0)) is params


def test_scenes_without_drivers_are_refused(tmp_path, make_scene):
    scene = make_scene(0)
    log = scene.log
    still = dataclasses.replace(
        log, position=np.repeat(log.position[:, :1], STEPS, axis=1), speed=np.zeros_like(log.speed),
        valid=np.ones_like(log.valid),
    )  # fmt: skip
    with ScenePackWriter(tmp_path / "still.h5") as writer:
        writer.add(LoggedScene(scene.road_map, still))
    config = PretrainConfig(packs=(str(tmp_path / "still.h5"),), num_agents=ROOM, worlds_per_scene=1)
    with pytest.raises(ValueError, match=r"still.h5.*no vehicle drives in the \d training scenes"):
        gather_demonstrations(config, CONFIG, seed=0)


def test_without_held_out_scenes_there_are_no_figures():
    samples = ExpertSamples(None, np.array([1]), np.array([0.0]), np.array([True]))
    assert held_out_evaluator(NETWORK, Demonstrations(samples, None, 1, 1.0))(None) == {}


@pytest.mark.parametrize(
    "field", [{"packs": ("",)}, {"epochs": 0}, {"learning_rate": 0.0}, {"value_weight": -1.0}]
)
def test_impossible_values_are_refused_by_name(field):
    (name,) = field
    with pytest.raises(ValueError, match=f"pretrain.{name}="):
        PretrainConfig(**field)
