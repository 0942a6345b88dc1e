"""PPO from pixels: advantages by hand and against the teacher's, a bandit, and rewards that are the teacher's."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jaxtyping import Array

from simulator.conventions import COAST, NUM_JERK_ACTIONS
from simulator.rollout import step_worlds
from simulator.state import Events, WorldState
from student.network.policy import PolicyConfig, StudentPolicy
from student.pixel_ppo.actor_critic import ActorCritic
from student.pixel_ppo.advantages import gae, normalised
from student.pixel_ppo.data import RolloutData
from student.pixel_ppo.losses import PixelPPOConfig, ppo_loss
from student.pixel_ppo.rollout import Samples, roll_out
from student.world.config import PixelWorldConfig
from student.world.pixel_world import PixelWorld
from teacher.ppo.losses import gae as gae_of_the_teacher
from teacher.reward import reward

WORLD = PixelWorldConfig(
    maps=("Town02",), num_worlds=2, num_agents=6, drive_with="actions", height_px=27, width_px=48
)


def test_advantages_by_hand() -> None:
    """Discount 0.5, trace decay 0.5, one agent that goes on and one that crashes in the second of three steps.

    First: errors from the end 1 + 0.5 * 8 - 2 = 3, 1 + 0.5 * 2 - 2 = 0, 1 + 0.5 * 2 - 2 = 0; advantages 3, 0.75 and
    0.1875.
    Second: error -4 - 2 = -6 at the crash, and 1 + 0.5 * 2 - 2 + 0.25 * -6 = -1.5 before it; nothing after it.
    """
    reward = torch.tensor([[1.0, 1.0], [1.0, -4.0], [1.0, 0.0]])
    value = torch.tensor([[2.0, 2.0], [2.0, 2.0], [2.0, 0.0]])
    terminated = torch.tensor([[False, False], [False, True], [False, False]])
    valid = torch.tensor([[True, True], [True, True], [True, False]])
    advantage, target = gae(reward, value, torch.tensor([8.0, 7.0]), terminated, valid, 0.5, 0.5)
    wanted = torch.tensor([[0.1875, -1.5], [0.75, -6.0], [3.0, 0.0]])
    torch.testing.assert_close(advantage, wanted)
    torch.testing.assert_close(target, wanted + value)


def test_advantages_are_those_of_the_teacher() -> None:
    random = np.random.default_rng(0)
    steps, agents = 7, 5
    reward, value = random.normal(size=(2, steps, agents)).astype(np.float32)
    last = random.normal(size=agents).astype(np.float32)
    terminated = random.random((steps, agents)) < 0.2
    valid = random.random((steps, agents)) < 0.8
    arrays = (reward, value, last, terminated, valid)
    ours = gae(*(torch.from_numpy(array) for array in arrays), 0.99, 0.9)
    theirs = gae_of_the_teacher(*(jnp.asarray(array) for array in arrays), 0.99, 0.9)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one.numpy(), np.asarray(other), atol=1e-5)


def test_a_bandit_learns_the_rewarded_action(
    tiny_config: PolicyConfig, make_observation, torch_seed: None
) -> None:
    """Reward 1 for action 4 and 0 for the others: its probability rises from about 1 in 12 to above one half, and the
    critic expects what is then earned."""
    actor_critic = ActorCritic(StudentPolicy(tiny_config))
    optimiser = torch.optim.Adam(actor_critic.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    observation = make_observation(64)

    def probability() -> float:
        with torch.no_grad():
            return float(actor_critic(observation)[0].softmax(-1)[:, 4].mean())

    before = probability()
    assert before < 0.3
    for _ in range(15):
        acted = actor_critic.act(observation, generator)
        earned = (acted.action == 4).float()
        samples = Samples(observation, acted.action, acted.log_prob, normalised(earned - acted.value), earned)
        for _ in range(4):
            logits, value = actor_critic(samples.observation)
            loss, _ = ppo_loss(logits, value, samples, PixelPPOConfig(entropy_weight=0.0))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    assert probability() > max(0.5, before)


def test_the_loss_by_hand(make_observation) -> None:
    """Two actions of 12 equally likely ones that were taken with half and with the same probability: ratios 2, which is
    clipped to 1.2, and 1."""
    logits, value = torch.zeros(2, NUM_JERK_ACTIONS), torch.tensor([1.0, 3.0])
    old = torch.tensor([1 / 24, 1 / 12]).log()
    samples = Samples(
        make_observation(2), torch.tensor([0, 5]), old, torch.tensor([1.0, -2.0]), torch.zeros(2)
    )
    loss, terms = ppo_loss(logits, value, samples, PixelPPOConfig(0.2, 0.5, 0.01))
    assert float(terms["loss_policy"]) == pytest.approx(-(1.2 - 2.0) / 2)
    assert float(terms["loss_value"]) == pytest.approx((1 + 9) / 4)
    assert float(terms["entropy"]) == pytest.approx(np.log(12))
    assert float(loss) == pytest.approx(0.4 + 0.5 * 2.5 - 0.01 * np.log(12))
    assert float(terms["clipped_share"]) == 0.5


@pytest.fixture(scope="module")
def world() -> PixelWorld:
    """Two worlds of six agents."""
    return PixelWorld(WORLD)


def test_the_reward_of_an_action_is_the_teachers(world: PixelWorld) -> None:
    world.reset(2)
    before, agents = world.state, world.ego_agents.numpy()
    got = world.act_for_reward(torch.full((len(agents),), COAST))
    rules = world.simulator
    action = jnp.full(before.active.shape, COAST, jnp.int32)

    @jax.jit
    def step(before: WorldState, action: Array) -> tuple[WorldState, Events, Array]:
        after, events = step_worlds(before, action, world.atlas, rules)
        value_of = partial(reward, simulator=rules, config=world.teacher.reward)
        return after, events, jax.vmap(value_of)(before, events, after)[0]

    after, events, wanted = step(before, action)
    np.testing.assert_allclose(got.reward.numpy(), np.asarray(wanted).ravel()[agents], atol=1e-5)
    assert np.abs(got.reward.numpy()).max() > 0
    ended = np.asarray(events.collision | events.offroad | events.arrived).ravel()[agents]
    np.testing.assert_array_equal(got.terminated.numpy(), ended)
    np.testing.assert_allclose(np.asarray(world.state.position), np.asarray(after.position), atol=1e-4)


def test_a_rollout_holds_every_acted_step(
    world: PixelWorld, tiny_config: PolicyConfig, torch_seed: None
) -> None:
    world.reset(1)
    before, agents = world.agent_steps, len(world.ego_agents)
    found = roll_out(world, ActorCritic(StudentPolicy(tiny_config)), 3, torch.Generator(), 0.99, 0.95)
    samples = found.samples
    assert len(samples) == world.agent_steps - before
    assert agents < len(samples) <= 3 * agents
    assert float(samples.advantage.mean()) == pytest.approx(0.0, abs=1e-5)
    assert float(samples.advantage.std(correction=0)) == pytest.approx(1.0, abs=1e-3)
    assert samples.observation.images.shape[1:] == (4, 27, 48, 3)


def test_refusals(tiny_config: PolicyConfig) -> None:
    with pytest.raises(ValueError, match=r"world\.drive_with='actions'.*not 'trajectory' and 'all'"):
        RolloutData(replace(WORLD, drive_with="trajectory"))
    with pytest.raises(ValueError, match=r"data\.minibatches=0 must be at least 1"):
        RolloutData(WORLD, minibatches=0)
    with pytest.raises(ValueError, match=r"ppo\.clip_ratio=0 must be above 0"):
        PixelPPOConfig(clip_ratio=0)
    width = tiny_config.encoder.features
    proposes = replace(tiny_config, planner=replace(tiny_config.planner, kind="proposals", hidden=width))
    with pytest.raises(ValueError, match=r"needs planner\.kind='trunk', not 'proposals'"):
        ActorCritic(StudentPolicy(proposes))
