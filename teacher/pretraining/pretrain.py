"""Pre-training of actor and critic from recorded traffic, before PPO ("Scaling Is All You Need", section 3.4.2).

Behaviour cloning of the recorded drivers' actions (cross-entropy) for the actor, and regression of the discounted
returns of the same drives in the simulator (squared error) for the critic: an untrained critic would quickly destroy a
pre-trained policy. `log_expert.py` drives, `demonstrations.py` collects the samples, this file trains.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key

from teacher.config import TeacherConfig
from teacher.network.actor_critic import Params, TeacherNetwork, logits_and_value
from teacher.observation.observe import Observation
from teacher.pretraining.config import PretrainConfig
from teacher.pretraining.demonstrations import Demonstrations, ExpertSamples, gather_demonstrations

_log = logging.getLogger(__name__)
_EVALUATION_BATCH = 1024  # held-out samples per forward pass

Row = dict[str, float]


def pretrain(
    params: Params,
    network: TeacherNetwork,
    config: PretrainConfig,
    teacher_config: TeacherConfig,
    key: Key[Array, ""],
    report: Callable[[Row], None] = lambda row: None,
) -> Params:
    """Weights after `config.epochs` of behaviour cloning; ``params`` unchanged where the configuration has no packs.

    The result depends on the arguments only; the key is consumed. ``report`` is called with a row of metrics before the
    first epoch and after each: see `held_out_evaluator`. Raises ValueError or OSError for packs that cannot be used.
    """
    if not config.packs:
        return params
    seed_key, shuffle_key = jax.random.split(key)
    began = time.perf_counter()
    demonstrations = gather_demonstrations(
        config, teacher_config, seed=int(jax.random.bits(seed_key, dtype=jnp.uint32))
    )
    _log.info(
        "%d samples of recorded drivers in %d scenes, %.1f %% of them within 0.3 m of the log",
        len(demonstrations.train.action), demonstrations.scenes, 100 * demonstrations.near_share,
    )  # fmt: skip
    return imitate(params, network, config, demonstrations, shuffle_key, report, began)


def imitate(
    params: Params,
    network: TeacherNetwork,
    config: PretrainConfig,
    demonstrations: Demonstrations,
    key: Key[Array, ""],
    report: Callable[[Row], None],
    began: float,
) -> Params:
    """Weights after `config.epochs` passes over the samples. The key is consumed. ``began`` is the `time.perf_counter`
    from which the rows' wall_s counts."""
    samples = jax.tree.map(jnp.asarray, demonstrations.train)
    count = len(demonstrations.train.action)
    size = min(config.minibatch_size, count)
    optimiser = make_pretraining_optimiser(config, config.epochs * (count // size))
    learn = jax.jit(partial(epoch, network, config, optimiser, size))
    evaluate = held_out_evaluator(network, demonstrations)
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


def make_pretraining_optimiser(config: PretrainConfig, steps: int) -> optax.GradientTransformation:
    """AdamW on clipped gradients with a cosine schedule from `learning_rate` to zero over ``steps``."""

    def kernels(params: Params) -> Params:
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
    params: Params,
    state: optax.OptState,
    samples: ExpertSamples,
    key: Key[Array, ""],
) -> tuple[Params, optax.OptState, dict[str, Array]]:
    """One pass over the samples in random order, in minibatches of ``size``; a smaller rest is left out. The key is
    consumed.

    Returns the weights, the optimiser's state and the mean losses.
    """
    count = samples.action.shape[0]
    order = jax.random.permutation(key, count)[: count // size * size].reshape(-1, size)

    def minibatch(
        carry: tuple[Params, optax.OptState], rows: Array
    ) -> tuple[tuple[Params, optax.OptState], dict[str, Array]]:
        params, state = carry
        chosen = jax.tree.map(lambda leaf: leaf[rows], samples)

        def loss(params: Params) -> tuple[Array, dict[str, Array]]:
            logits, value = logits_and_value(network, params, chosen.observation)
            return cloning_loss(logits, value, chosen, config.value_weight)

        gradient, losses = jax.grad(loss, has_aux=True)(params)
        change, state = optimiser.update(gradient, state, params)
        return (optax.apply_updates(params, change), state), losses

    (params, state), losses = jax.lax.scan(minibatch, (params, state), order)
    return params, state, jax.tree.map(jnp.mean, losses)


def cloning_loss(
    logits: Float[Array, "samples actions"],
    value: Float[Array, " samples"],
    samples: ExpertSamples,
    value_weight: float,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Cross-entropy of the actions + value_weight x mean squared error of the values whose return is known; and both
    terms by name."""
    policy = jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, samples.action))
    weight = samples.valued.astype(jnp.float32)
    squares = jnp.sum((value - samples.target) ** 2 * weight) / jnp.maximum(jnp.sum(weight), 1.0)
    return policy + value_weight * squares, {"policy": policy, "value": squares}


def held_out_evaluator(network: TeacherNetwork, demonstrations: Demonstrations) -> Callable[[Params], Row]:
    """A function from weights to metrics of the held-out scenes; it returns an empty row if there are none.

    Metrics: cross-entropy (nats) and accuracy of the actor; the same of the training scenes' action frequencies
    (``marginal_...``), which is the best that is possible without an observation; root mean squared error and explained
    variance of the critic.
    """
    held_out = demonstrations.held_out
    if held_out is None:
        return lambda params: {}
    known = held_out.valued
    share = action_shares(demonstrations.train.action, network.num_actions)
    marginal = {
        "cross_entropy": float(-np.log(share[held_out.action]).mean()),
        "accuracy": float((held_out.action == share.argmax()).mean()),
    }
    observation = jax.tree.map(jnp.asarray, held_out.observation)

    @jax.jit
    def forward(params: Params, observation: Observation) -> tuple[Array, Array]:
        return jax.lax.map(partial(network.apply, params), observation, batch_size=_EVALUATION_BATCH)

    def evaluate(params: Params) -> Row:
        logits, value = (np.asarray(part, np.float64) for part in forward(params, observation))
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

    return evaluate


def action_shares(action: Int[np.ndarray, " samples"], num_actions: int) -> Float[np.ndarray, " actions"]:
    """Relative frequencies of the actions with add-one smoothing, so that none is 0."""
    counts = np.bincount(action, minlength=num_actions) + 1.0
    return counts / counts.sum()
