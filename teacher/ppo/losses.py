"""PPO as mathematics: advantages, the advantage filter, the loss. Pure functions of arrays; `learner.py` wires them.

Sources: PPO (arXiv 1707.06347), generalised advantage estimation (arXiv 1506.02438), and GIGAFLOW's advantage
filter (arXiv 2502.03349): samples whose |advantage| is below 1 % of a moving average of the batch maximum teach
nothing and are left out of the update.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from teacher.ppo.sharding import ONE_SHARD, Shards

SCHEDULES = ("constant", "linear", "cosine")
SELECTIONS = ("largest", "random")
TINY = 1e-8


@dataclass(frozen=True)
class PPOConfig:
    """Settings of rollouts, advantages, the filter and the updates.

    Attributes:
        rollout_steps: simulator steps between two updates.
        epochs: passes over the kept samples per update.
        minibatch_size: samples per gradient step; must divide the number of kept samples.
        keep_fraction: share of a rollout's samples that an update trains on (fixed, so that shapes stay static).
        selection: which samples are kept when more pass the filter than fit: those with the `largest` |advantage|,
            or a `random` choice among all that pass.
        filter_threshold: samples with |advantage| below this share of the moving maximum are left out.
        filter_decay: weight of the newest batch in the moving average of max |advantage| (GIGAFLOW's beta).
        discount, trace_decay: gamma and lambda of generalised advantage estimation.
        clip_ratio: PPO's epsilon.
        value_weight, entropy_weight: weights of the squared value error (halved) and of the entropy bonus.
        learning_rate, schedule: step size and how it falls to zero over the run (`constant`, `linear`, `cosine`).
        weight_decay: AdamW's decoupled decay, on kernels only.
        max_grad_norm: global norm to which a gradient is shortened.
        recompute_observations: keep what moved in the worlds instead of every observation, and compute the observations
            of the samples that pass the filter again (GIGAFLOW): saves memory, costs time.
        actor_refresh: updates between two copies of the learner's weights to the acting policy; with 1 it always has
            the newest. Above 1 imitates the asynchronous actors of log-replay RL (arXiv 2312.15122, 3.4.3).
        v_trace: correct advantages and targets for the difference between acting and present policy (arXiv 1802.01561);
            needs another forward pass over the whole rollout.
    """

    rollout_steps: int = 64
    epochs: int = 2
    minibatch_size: int = 4096
    keep_fraction: float = 0.25
    selection: str = "largest"
    filter_threshold: float = 0.01
    filter_decay: float = 0.25
    discount: float = 0.995
    trace_decay: float = 0.95
    clip_ratio: float = 0.2
    value_weight: float = 0.5
    entropy_weight: float = 0.01
    learning_rate: float = 5e-4
    schedule: str = "cosine"
    weight_decay: float = 0.01
    max_grad_norm: float = 0.5
    recompute_observations: bool = False
    actor_refresh: int = 1
    v_trace: bool = False

    def __post_init__(self) -> None:
        for name in ("rollout_steps", "epochs", "minibatch_size", "actor_refresh"):
            if getattr(self, name) < 1:
                raise ValueError(f"ppo.{name}={getattr(self, name)} must be at least 1")
        for name in ("keep_fraction", "filter_decay", "discount", "trace_decay"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ValueError(f"ppo.{name}={getattr(self, name)} must lie in (0, 1]")
        for name in ("clip_ratio", "learning_rate", "max_grad_norm"):
            if not getattr(self, name) > 0.0:
                raise ValueError(f"ppo.{name}={getattr(self, name)} must be above 0")
        for name in ("filter_threshold", "value_weight", "entropy_weight", "weight_decay"):
            if not getattr(self, name) >= 0.0:
                raise ValueError(f"ppo.{name}={getattr(self, name)} must be 0 or above")
        for name, known in (("schedule", SCHEDULES), ("selection", SELECTIONS)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"ppo.{name}={getattr(self, name)!r} is unknown; try one of {', '.join(known)}"
                )

    def kept_samples(self, samples: int, shards: int = 1) -> int:
        """How many of a rollout's samples each shard keeps: `keep_fraction`, rounded to whole minibatches.

        `samples` is the size of the whole rollout; each shard gives its equal part to every minibatch.
        """
        if self.minibatch_size > samples:
            raise ValueError(
                f"ppo.minibatch_size={self.minibatch_size} is larger than the {samples} samples of one rollout "
                f"(worlds x agents x rollout_steps); try {samples}"
            )
        if self.minibatch_size % shards:
            raise ValueError(
                f"ppo.minibatch_size={self.minibatch_size} must be a multiple of num_shards={shards}; "
                f"try {-(-self.minibatch_size // shards) * shards}"
            )
        minibatches = max(1, round(samples * self.keep_fraction / self.minibatch_size))
        return min(minibatches, samples // self.minibatch_size) * self.minibatch_size // shards


def gae(
    reward: Float[Array, "steps *batch"],
    value: Float[Array, "steps *batch"],
    last_value: Float[Array, "*batch"],
    terminated: Bool[Array, "steps *batch"],
    valid: Bool[Array, "steps *batch"],
    discount: float,
    trace_decay: float,
) -> tuple[Float[Array, "steps *batch"], Float[Array, "steps *batch"]]:
    """Generalised advantage estimates and value targets (advantage + value), backwards in time.

    A terminated step has no future; the end of the rollout is a truncation, so `last_value`, the critic's value of
    the state after the last step, stands for the rest. Steps that are not valid (the agent was already inactive)
    have an advantage of 0 and propagate nothing.
    """

    def backwards(carry: tuple[Array, Array], step: tuple[Array, ...]) -> tuple[tuple[Array, Array], Array]:
        next_advantage, next_value = carry
        reward, value, terminated, valid = step
        goes_on = 1.0 - terminated.astype(reward.dtype)
        error = reward + discount * goes_on * next_value - value
        advantage = error + discount * trace_decay * goes_on * next_advantage
        advantage = jnp.where(valid, advantage, jnp.zeros_like(advantage))
        return (advantage, value), advantage

    start = (jnp.zeros_like(last_value), last_value)
    _, advantage = jax.lax.scan(backwards, start, (reward, value, terminated, valid), reverse=True)
    return advantage, advantage + value


def v_trace(
    reward: Float[Array, "steps *batch"],
    value: Float[Array, "steps *batch"],
    last_value: Float[Array, "*batch"],
    log_ratio: Float[Array, "steps *batch"],
    terminated: Bool[Array, "steps *batch"],
    valid: Bool[Array, "steps *batch"],
    discount: float,
    trace_decay: float,
) -> tuple[Float[Array, "steps *batch"], Float[Array, "steps *batch"]]:
    """V-trace advantages and value targets for a rollout of another policy (IMPALA, arXiv 1802.01561, equation 1).

    `log_ratio` is the log-probability of the action under the present policy minus that when it was taken; ratios are
    cut at 1. `value` is the present critic's. With ratios of 1 both results equal `gae`'s: traces decay by
    `trace_decay` here as well, and the advantage is that of the mixed return over one and more steps. The ratio
    in front of the advantage is left to PPO's loss, which has it already.
    """
    ratio = jnp.minimum(jnp.exp(log_ratio), 1.0)

    def backwards(carry: tuple[Array, Array], step: tuple[Array, ...]) -> tuple[tuple[Array, Array], Any]:
        next_gain, next_value = carry  # gain: value target - value
        reward, value, ratio, terminated, valid = step
        goes_on = 1.0 - terminated.astype(reward.dtype)
        error = reward + discount * goes_on * next_value - value
        beyond = discount * trace_decay * goes_on * next_gain
        gain, advantage = (jnp.where(valid, term, 0.0) for term in (ratio * (error + beyond), error + beyond))
        return (gain, value), (advantage, gain)

    start = (jnp.zeros_like(last_value), last_value)
    _, (advantage, gain) = jax.lax.scan(
        backwards, start, (reward, value, ratio, terminated, valid), reverse=True
    )
    return advantage, gain + value


def update_scale(
    scale: Float[Array, ""],
    advantage: Float[Array, "*batch"],
    valid: Bool[Array, "*batch"],
    decay: float,
    shards: Shards = ONE_SHARD,
) -> Float[Array, ""]:
    """Exponentially weighted average of max |advantage|; 0 means "no batch seen yet" and is replaced outright."""
    largest = shards.max(jnp.max(jnp.where(valid, jnp.abs(advantage), jnp.zeros_like(advantage))))
    return jnp.where(scale > 0.0, (1.0 - decay) * scale + decay * largest, largest)


def select_samples(
    advantage: Float[Array, "samples"],
    valid: Bool[Array, "samples"],
    threshold: Float[Array, ""],
    keep: int,
    priority: Float[Array, "samples"],
) -> tuple[Int[Array, "keep"], Bool[Array, "keep"]]:
    """Indices of the `keep` passing samples of highest priority, and whether each passes the filter at all.

    A sample passes if it is valid and |advantage| >= threshold. `priority` (> 0) is |advantage| itself or a random
    number. The number of indices is fixed; where fewer samples pass, the rest is marked False and must weigh nothing.
    """
    passes = valid & (jnp.abs(advantage) >= threshold)
    ranked = jnp.where(passes, priority, -jnp.ones_like(priority))
    _, index = jax.lax.top_k(ranked, keep)
    return index, passes[index]


def selection_priority(
    selection: str, advantage: Float[Array, "samples"], key: Key[Array, ""]
) -> Float[Array, "samples"]:
    """What `select_samples` ranks by. The key is consumed."""
    if selection == "largest":
        return jnp.abs(advantage)
    return jax.random.uniform(key, advantage.shape)


def normalise(
    advantage: Float[Array, "samples"],
    valid: Bool[Array, "samples"],
    index: Int[Array, "keep"],
    passes: Bool[Array, "keep"],
    shards: Shards = ONE_SHARD,
) -> Float[Array, "keep"]:
    """The kept advantages, centred on the mean of ALL valid samples and scaled to root mean square 1.

    Not on the mean of the kept ones: a filter that keeps mostly crashes would give the least bad crash a positive
    advantage.
    """
    weight, passing = valid.astype(advantage.dtype), passes.astype(advantage.dtype)
    total, count = shards.sum((jnp.sum(advantage * weight), jnp.sum(weight)))
    kept = (advantage[index] - total / jnp.maximum(count, 1.0)) * passing
    squares, count = shards.sum((jnp.sum(kept**2), jnp.sum(passing)))
    return kept / (jnp.sqrt(squares / jnp.maximum(count, 1.0)) + TINY)


class Samples(NamedTuple):
    """What the loss needs about each acted step."""

    observation: Any  # pytree, leaves [samples, ...]
    action: Array  # [samples] i32, index into the action table
    log_prob: Array  # [samples] f32, log-probability of the action when it was taken
    advantage: Array  # [samples] f32, normalised
    target: Array  # [samples] f32, value target
    weight: Array  # [samples] f32, 1 counts, 0 is padding


def ppo_loss(
    logits: Float[Array, "samples actions"],
    value: Float[Array, "samples"],
    samples: Samples,
    clip_ratio: float,
    value_weight: float,
    entropy_weight: float,
    total: Float[Array, ""],
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Clipped policy loss + value_weight x squared error / 2 - entropy_weight x entropy, summed by weight over `total`.

    `total` is the weight of the whole minibatch: of these samples, or of all shards' where they are a part of it.
    """

    def average(values: Array) -> Array:
        return jnp.sum(values * samples.weight) / total

    log_probs = jax.nn.log_softmax(logits)
    log_prob = jnp.take_along_axis(log_probs, samples.action[:, None], axis=-1)[:, 0]
    log_ratio = log_prob - samples.log_prob
    ratio = jnp.exp(log_ratio)
    clipped = jnp.clip(ratio, 1.0 - clip_ratio, 1.0 + clip_ratio)
    policy_loss = -average(jnp.minimum(ratio * samples.advantage, clipped * samples.advantage))
    value_loss = 0.5 * average((value - samples.target) ** 2)
    entropy = average(-jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1))
    loss = policy_loss + value_weight * value_loss - entropy_weight * entropy
    metrics = {
        "policy": policy_loss,
        "value": value_loss,
        "entropy": entropy,
        # Schulman's estimator k3, never negative: http://joschu.net/blog/kl-approx.html
        "approximate_kl": average(ratio - 1.0 - log_ratio),
        "clipped_share": average((jnp.abs(ratio - 1.0) > clip_ratio).astype(jnp.float32)),
    }
    return loss, metrics


def learning_rate_factor(schedule: str, progress: Float[Array, ""]) -> Float[Array, ""]:
    """Multiplier [] of the learning rate after a share `progress` in [0, 1] of the run's agent-steps."""
    progress = jnp.clip(progress, 0.0, 1.0)
    if schedule == "linear":
        return 1.0 - progress
    if schedule == "cosine":
        return 0.5 * (1.0 + jnp.cos(jnp.pi * progress))
    return jnp.ones_like(progress)
