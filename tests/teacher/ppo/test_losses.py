"""Advantages, filter and loss against arithmetic done by hand or in plain NumPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from teacher.ppo.losses import (
    PPOConfig,
    Samples,
    gae,
    learning_rate_factor,
    normalise,
    ppo_loss,
    select_samples,
    selection_priority,
    update_scale,
    v_trace,
)


def advantages(reward, value, last, terminated=(0, 0, 0), valid=(1, 1, 1), discount=0.5, trace_decay=0.5):
    column = [jnp.asarray(part, jnp.float32)[:, None] for part in (reward, value)]
    flags = [jnp.asarray(part, bool)[:, None] for part in (terminated, valid)]
    advantage, target = gae(*column, jnp.asarray([last], jnp.float32), *flags, discount, trace_decay)
    np.testing.assert_allclose(target, advantage + column[1], rtol=1e-6)
    return advantage[:, 0].tolist()


def test_gae_by_hand():
    # errors, last first: 3 + 0.5 * 4 - 1 = 4;  2 + 0.5 * 1 - 2 = 0.5;  1 + 0.5 * 2 - 3 = -1
    # advantages: 4;  0.5 + 0.25 * 4 = 1.5;  -1 + 0.25 * 1.5 = -0.625
    assert advantages([1, 2, 3], [3, 2, 1], last=4) == [-0.625, 1.5, 4.0]


def test_gae_stops_at_a_termination():
    # the middle step ends an episode: its error is 2 - 2 = 0 and nothing comes back from later
    # the first: 1 + 0.5 * 2 - 3 = -1, plus 0.25 * 0
    assert advantages([1, 2, 3], [3, 2, 1], last=4, terminated=[0, 1, 0]) == [-1.0, 0.0, 4.0]


def test_gae_bootstraps_at_the_end_of_the_rollout_only_if_the_episode_goes_on():
    assert advantages([0], [0], last=4, terminated=[0], valid=[1]) == [2.0]
    assert advantages([0], [0], last=4, terminated=[1], valid=[1]) == [0.0]


def test_gae_carries_nothing_through_steps_out_of_play():
    # the agent ends in the first step; whatever the slot holds afterwards is ignored
    assert advantages([1, 100, -100], [0, 50, 50], last=50, terminated=[1, 0, 0], valid=[1, 0, 0]) == [
        1.0,
        0.0,
        0.0,
    ]


def test_gae_is_the_exponentially_weighted_sum_of_errors(rng):
    steps, batch, discount, trace_decay = 12, (3, 2), 0.97, 0.9
    reward, value = rng.normal(size=(2, steps, *batch))
    last = rng.normal(size=batch)
    terminated = rng.random((steps, *batch)) < 0.2
    following = np.concatenate([value[1:], last[None]])
    errors = reward + discount * following * ~terminated - value
    expected = np.zeros_like(reward)
    for start in range(steps):
        weight = np.ones(batch)
        for step in range(start, steps):
            expected[start] += weight * errors[step]
            weight = weight * discount * trace_decay * ~terminated[step]
    arrays = [jnp.asarray(part, jnp.float32) for part in (reward, value, last)]
    found, _ = gae(*arrays, jnp.asarray(terminated), jnp.ones_like(terminated), discount, trace_decay)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_v_trace_follows_its_definition(rng):
    """IMPALA's equation 1, written as a sum over all later steps of products of cut ratios."""
    steps, batch, discount, trace_decay = 9, (4,), 0.9, 0.8
    reward, value, log_ratio = rng.normal(size=(3, steps, *batch))
    last = rng.normal(size=batch)
    terminated = rng.random((steps, *batch)) < 0.2
    following = np.concatenate([value[1:], last[None]])
    ratio = np.minimum(np.exp(log_ratio), 1.0)
    errors = ratio * (reward + discount * following * ~terminated - value)
    target = value.copy()
    for start in range(steps):
        weight = np.ones(batch)
        for step in range(start, steps):
            target[start] += weight * errors[step]
            weight = weight * discount * trace_decay * ratio[step] * ~terminated[step]
    arrays = [jnp.asarray(part, jnp.float32) for part in (reward, value, last, log_ratio)]
    valid = jnp.ones_like(terminated)
    advantage, found = v_trace(*arrays, jnp.asarray(terminated), valid, discount, trace_decay)
    np.testing.assert_allclose(found, target, atol=1e-5)
    np.testing.assert_allclose(advantage * ratio, target - value, atol=1e-5)


def test_v_trace_of_the_own_policy_is_gae(rng):
    reward, value = jnp.asarray(rng.normal(size=(2, 12, 3)), jnp.float32)
    last = jnp.asarray(rng.normal(size=3), jnp.float32)
    terminated, valid = (jnp.asarray(rng.random((12, 3)) < share) for share in (0.2, 0.8))
    plain = gae(reward, value, last, terminated, valid, 0.97, 0.9)
    same = v_trace(reward, value, last, jnp.zeros((12, 3)), terminated, valid, 0.97, 0.9)
    for one, other in zip(plain, same):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_moving_maximum_starts_at_the_first_batch_and_ignores_agents_out_of_play():
    valid = jnp.asarray([True, True, False])
    first = update_scale(jnp.asarray(0.0), jnp.asarray([1.0, -4.0, 9.0]), valid, 0.25)
    assert float(first) == 4.0
    assert float(update_scale(first, jnp.asarray([0.0, 2.0, 9.0]), valid, 0.25)) == 0.75 * 4.0 + 0.25 * 2.0


def test_filter_keeps_the_largest_advantages():
    advantage = jnp.asarray([0.1, -3.0, 2.0, 0.0, -1.0, 9.0])
    valid = jnp.asarray([True, True, True, True, True, False])
    index, passes = select_samples(advantage, valid, jnp.asarray(0.05), 3, jnp.abs(advantage))
    assert sorted(index.tolist()) == [1, 2, 4]
    assert passes.all()


def test_filter_marks_what_it_had_to_fill_up():
    advantage = jnp.asarray([0.1, -3.0, 2.0, 0.0, -1.0, 9.0])
    valid = jnp.asarray([True, True, True, True, True, False])
    index, passes = select_samples(advantage, valid, jnp.asarray(1.5), 4, jnp.abs(advantage))
    assert sorted(index[passes].tolist()) == [1, 2]
    assert passes.sum() == 2


def test_random_selection_is_uniform_among_those_that_pass(getkey):
    advantage = jnp.asarray([10.0, 1.0, 1.0, 1.0, 0.0])
    valid = jnp.ones(5, bool)

    def chosen(key):
        priority = selection_priority("random", advantage, key)
        return select_samples(advantage, valid, jnp.asarray(0.5), 2, priority)[0]

    counts = np.bincount(np.asarray(jax.vmap(chosen)(jax.random.split(getkey(), 4000))).ravel(), minlength=5)
    assert counts[4] == 0
    np.testing.assert_allclose(counts[:4] / 4000, 0.5, atol=0.05)  # 6 standard deviations


def test_a_mild_crash_among_crashes_is_not_praised():
    advantage = jnp.asarray([-1.0, -2.0, -3.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5])
    index, passes = jnp.asarray([0, 1, 2]), jnp.ones(3, bool)
    kept = normalise(advantage, jnp.ones(9, bool), index, passes)
    assert (kept < 0).all()
    np.testing.assert_allclose(jnp.mean(kept**2), 1.0, rtol=1e-5)


LOGITS = jnp.log(jnp.asarray([[0.5, 0.5], [0.8, 0.2]]))


def samples(weight=(1.0, 1.0), advantage=(2.0, 2.0)):
    was = jnp.log(jnp.asarray([0.5, 0.5]))
    return Samples(
        None, jnp.asarray([0, 0]), was, jnp.asarray(advantage), jnp.asarray([1.0, 3.0]), jnp.asarray(weight)
    )


def test_loss_by_hand():
    # ratios 1 and 0.8 / 0.5 = 1.6, clipped to 1.2: policy -(2 + 2.4) / 2 = -2.2
    # value errors 0 - 1 and 1 - 3: 0.5 * (1 + 4) / 2 = 1.25
    # entropies ln 2 and -(0.8 ln 0.8 + 0.2 ln 0.2): mean 0.5967747
    loss, metrics = ppo_loss(LOGITS, jnp.asarray([0.0, 1.0]), samples(), 0.2, 0.5, 0.1, jnp.asarray(2.0))
    np.testing.assert_allclose(metrics["policy"], -2.2, rtol=1e-6)
    np.testing.assert_allclose(metrics["value"], 1.25, rtol=1e-6)
    np.testing.assert_allclose(metrics["entropy"], 0.5967747, rtol=1e-6)
    np.testing.assert_allclose(loss, -2.2 + 0.5 * 1.25 - 0.1 * 0.5967747, rtol=1e-6)
    np.testing.assert_allclose(metrics["clipped_share"], 0.5)


def test_loss_does_not_reward_moving_farther_than_the_clip():
    def policy_loss(logits, advantage):
        return ppo_loss(
            logits, jnp.zeros(2), samples(advantage=(0.0, advantage)), 0.2, 0.0, 0.0, jnp.asarray(2.0)
        )[0]

    assert (jax.grad(policy_loss)(LOGITS, 2.0)[1] == 0).all()  # already above 1.2: no more
    assert (jax.grad(policy_loss)(LOGITS, -2.0)[1] != 0).all()  # the way back stays open


def test_padding_weighs_nothing():
    value = jnp.asarray([0.0, 1.0])
    both = ppo_loss(LOGITS, value, samples(weight=(1.0, 0.0)), 0.2, 0.5, 0.1, jnp.asarray(1.0))[0]
    one = Samples(*[None if part is None else part[:1] for part in samples()])
    np.testing.assert_allclose(
        both, ppo_loss(LOGITS[:1], value[:1], one, 0.2, 0.5, 0.1, jnp.asarray(1.0))[0], rtol=1e-6
    )


@pytest.mark.parametrize(("schedule", "half"), [("constant", 1.0), ("linear", 0.5), ("cosine", 0.5)])
def test_learning_rate_falls_to_zero_unless_constant(schedule, half):
    found = [float(learning_rate_factor(schedule, jnp.asarray(at))) for at in (0.0, 0.5, 1.0, 2.0)]
    end = 1.0 if schedule == "constant" else 0.0
    np.testing.assert_allclose(found, [1.0, half, end, end], atol=1e-6)


def test_kept_samples_are_whole_minibatches():
    config = PPOConfig(minibatch_size=100, keep_fraction=0.25)
    assert config.kept_samples(1000) == 200  # 2.5 minibatches, rounded to even
    assert config.kept_samples(110) == 100
    with pytest.raises(ValueError, match="minibatch_size=100 is larger than the 99 samples"):
        config.kept_samples(99)


@pytest.mark.parametrize(
    "field",
    [{"epochs": 0}, {"keep_fraction": 0.0}, {"discount": 1.5}, {"learning_rate": 0.0}, {"clip_ratio": float("nan")},
     {"entropy_weight": -1.0}, {"schedule": "steps"}, {"selection": "best"}],
)  # fmt: skip
def test_impossible_values_are_refused_by_name(field):
    (name,) = field
    with pytest.raises(ValueError, match=f"ppo.{name}="):
        PPOConfig(**field)
