"""Pre-training from recorded traffic ("Scaling Is All You Need", section 3.4.2): actor and critic before PPO.

Both are trained: a policy with an untrained critic would be spoilt by its first updates. The actor learns the recorded
drivers' actions (cross-entropy), the critic the discounted return that the same drives earn in the simulator (squared
error). `expert.py` drives, `demonstrations.py` collects, this file learns.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key

from teacher.config import TeacherConfig
from teacher.network.actor_critic import TeacherNetwork
from teacher.pretraining.config import PretrainConfig
from teacher.pretraining.demonstrations import Demonstrations, Samples, gather

_log = logging.getLogger(__name__)
_CHUNK = 1024  # samples looked at together where nothing is learnt

Row = dict[str, float]


def pretrain(
    params: Any,
    network: TeacherNetwork,
    config: PretrainConfig,
    teacher_config: TeacherConfig,
    key: Key[Array, ""],
    report: Callable[[Row], None] = lambda row: None,
) -> Any:
    """Weights after `config.epochs` of imitation, or `params` as they are where no pack is named.

    The result is a function of its arguments alone; the key is consumed. `report` gets a row of figures before the
    first epoch and after each: see `judge`. Raises ValueError or OSError for packs that cannot be used.
    """
    if not config.packs:
        return params
    seed_key, shuffle_key = jax.random.split(key)
    began = time.perf_counter()
    shown = gather(config, teacher_config, seed=int(jax.random.bits(seed_key, dtype=jnp.uint32)))
    _log.info(
        "%d samples of recorded drivers in %d scenes, %.1f %% of them within 0.3 m of the log",
        len(shown.train.action), shown.scenes, 100 * shown.near_share,
    )  # fmt: skip
    return imitate(params, network, config, shown, shuffle_key, report, began)


def imitate(
    params: Any,
    network: TeacherNetwork,
    config: PretrainConfig,
    shown: Demonstrations,
    key: Key[Array, ""],
    report: Callable[[Row], None],
    began: float,
) -> Any:
    """Weights after `config.epochs` passes over the samples; the key is consumed. `began` is when the clock started."""
    samples = jax.tree.map(jnp.asarray, shown.train)
    count = len(shown.train.action)
    size = min(config.minibatch_size, count)
    optimiser = make_optimiser(config, config.epochs * (count // size))
    learn = jax.jit(partial(epoch, network, config, optimiser, size))
    evaluate = judge(network, shown)
    state = optimiser.init(params)
    for number in range(config.epochs + 1):
        row: Row = {"epoch": number}
        if number:
            key, epoch_key = jax.random.split(key)
            params, state, losses = learn(params, state, samples, epoch_key)
            row |= {f"pretrain/loss/{name}": float(value) for name, value in losses.items()}
        row |= {f"pretrain/{name}": value for name, value in evaluate(params).items()}
        report(row | {"wall_s": round(time.perf_counter() - began, 3)})
    return params


def make_optimiser(config: PretrainConfig, steps: int) -> optax.GradientTransformation:
    """AdamW on clipped gradients, its step size falling to zero over `steps` (at least one)."""

    def kernels(params: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

    schedule = optax.cosine_decay_schedule(config.learning_rate, max(steps, 1))
    return optax.chain(
        optax.clip_by_global_norm(config.max_grad_norm),
        optax.adamw(schedule, weight_decay=config.weight_decay, mask=kernels),
    )


def epoch(
    network: TeacherNetwork,
    config: PretrainConfig,
    optimiser: optax.GradientTransformation,
    size: int,
    params: Any,
    state: Any,
    samples: Samples,
    key: Key[Array, ""],
) -> tuple[Any, Any, dict[str, Array]]:
    """One pass in a random order, minibatch by minibatch; what is left over waits for the next. The key is consumed.

    Gives weights, the optimiser's state and the mean losses.
    """
    count = samples.action.shape[0]
    order = jax.random.permutation(key, count)[: count // size * size].reshape(-1, size)

    def minibatch(carry: tuple[Any, Any], rows: Array) -> tuple[tuple[Any, Any], dict[str, Array]]:
        params, state = carry
        chosen = jax.tree.map(lambda leaf: leaf[rows], samples)

        def loss(params: Any) -> tuple[Array, dict[str, Array]]:
            logits, value = network.apply(params, chosen.observation)
            return imitation_loss(logits, value, chosen, config.value_weight)

        gradient, losses = jax.grad(loss, has_aux=True)(params)
        change, state = optimiser.update(gradient, state, params)
        return (optax.apply_updates(params, change), state), losses

    (params, state), losses = jax.lax.scan(minibatch, (params, state), order)
    return params, state, jax.tree.map(jnp.mean, losses)


def imitation_loss(
    logits: Float[Array, "samples actions"],
    value: Float[Array, " samples"],
    samples: Samples,
    value_weight: float,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Cross-entropy of the actions + value_weight x mean squared error of the values whose return is known."""
    policy = jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, samples.action))
    weight = samples.valued.astype(jnp.float32)
    squares = jnp.sum((value - samples.target) ** 2 * weight) / jnp.maximum(jnp.sum(weight), 1.0)
    return policy + value_weight * squares, {"policy": policy, "value": squares}


def judge(network: TeacherNetwork, shown: Demonstrations) -> Callable[[Any], Row]:
    """A function from weights to figures of the held-out scenes; to none where no scene is held out.

    Beside the network's cross-entropy (nats) stands that of the training scenes' action frequencies, which is what an
    actor that sees nothing can reach; a critic that sees nothing explains none of the variance.
    """
    held_out = shown.held_out
    if held_out is None:
        return lambda params: {}
    known = held_out.valued
    share = action_shares(shown.train.action, network.num_actions)
    marginal = {
        "cross_entropy": float(-np.log(share[held_out.action]).mean()),
        "accuracy": float((held_out.action == share.argmax()).mean()),
    }
    observation = jax.tree.map(jnp.asarray, held_out.observation)

    @jax.jit
    def look(params: Any, observation: Any) -> tuple[Array, Array]:
        return jax.lax.map(partial(network.apply, params), observation, batch_size=_CHUNK)

    def figures(params: Any) -> Row:
        logits, value = (np.asarray(part, np.float64) for part in look(params, observation))
        logits -= logits.max(axis=-1, keepdims=True)
        log_share = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        row = {
            "cross_entropy": float(-np.take_along_axis(log_share, held_out.action[:, None], axis=-1).mean()),
            "accuracy": float((logits.argmax(axis=-1) == held_out.action).mean()),
        }
        row |= {f"marginal_{name}": value for name, value in marginal.items()}
        error, target = value[known] - held_out.target[known], held_out.target[known]
        if len(error):
            row["value_error"] = float(np.sqrt(np.mean(error**2)))
            row["explained_variance"] = float(1.0 - error.var() / max(target.var(), 1e-12))
        return {f"held_out/{name}": value for name, value in row.items()}

    return figures


def action_shares(action: Int[np.ndarray, " samples"], num_actions: int) -> Float[np.ndarray, " actions"]:
    """How often each action was taken; counts begin at one, so that none is impossible."""
    counts = np.bincount(action, minlength=num_actions) + 1.0
    return counts / counts.sum()
