"""Bodies of spawned agents: kinds, sizes and dynamics gains.

Body sizes and dynamics gains follow GIGAFLOW; the shares of kinds are our choice.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array

from simulator.array_field import ArrayField
from simulator.config import SimulatorConfig
from simulator.conventions import CAR, CYCLIST, PEDESTRIAN, TRUCK

# Least and greatest length, width and height of each kind, metres (our choice within GIGAFLOW's 0.8 to 7 x 0.8 to 3).
_LEAST = {CAR: (3.8, 1.7, 1.4), TRUCK: (6.0, 2.2, 2.6), CYCLIST: (1.6, 0.8, 1.6), PEDESTRIAN: (0.8, 0.8, 1.6)}
_GREATEST = {
    CAR: (5.2, 2.1, 1.9),
    TRUCK: (9.0, 2.6, 3.6),
    CYCLIST: (1.9, 0.8, 1.9),
    PEDESTRIAN: (0.8, 0.8, 1.9),
}
SPEED_SCALE = (1.0, 0.8, 0.35, 0.1)
"""Top speed of each kind over `bicycle.MAX_SPEED`: 2 m/s for a pedestrian, 7 m/s for a cyclist."""


@struct.dataclass
class Bodies:
    """Sizes and dynamics of a world's agents."""

    kind: ArrayField  # [agents] int32
    size: ArrayField  # [agents, 3] m
    throttle_gain: ArrayField  # [agents]
    steer_gain: ArrayField  # [agents]
    acceleration_gain: ArrayField  # [agents]
    speed_gain: ArrayField  # [agents]


def sample_bodies(key: Array, config: SimulatorConfig) -> Bodies:
    """Random bodies of ``config.num_agents`` agents. The key is consumed."""
    keys = jax.random.split(key, 6)
    agents = (config.num_agents,)
    bounds = jnp.cumsum(jnp.array(config.kind_shares))[:-1]
    kind = jnp.searchsorted(bounds, jax.random.uniform(keys[0], agents), side="right").astype(jnp.int32)
    least = jnp.array([_LEAST[k] for k in range(4)])[kind]
    greatest = jnp.array([_GREATEST[k] for k in range(4)])[kind]
    size = least + (greatest - least) * jax.random.uniform(keys[1], (config.num_agents, 3))
    gains = [jnp.ones(agents)] * 4
    if config.randomise_dynamics:
        pairs = zip(keys[2:6], (1.25, 1.25, 1.5, 1.5), strict=True)
        gains = [_mixed_uniform(k, agents, bound) for k, bound in pairs]
    throttle, steer, acceleration, speed = gains
    return Bodies(kind, size, throttle, steer, acceleration, speed * jnp.array(SPEED_SCALE)[kind])


def with_cars(key: Array, bodies: Bodies, which: Array, config: SimulatorConfig) -> Bodies:
    """The bodies, of which those ``which`` [agents] bool are cars. The key is consumed."""
    cars = sample_bodies(key, replace(config, kind_shares=(1.0, 0.0, 0.0, 0.0)))

    def pick(car: Array, body: Array) -> Array:
        return jnp.where(which.reshape(which.shape + (1,) * (car.ndim - 1)), car, body)

    return jax.tree.map(pick, cars, bodies)


def _mixed_uniform(key: Array, shape: tuple[int, ...], bound: float) -> Array:
    """GIGAFLOW's X(a), a = ``bound``: half uniform on [1/a, 1], half uniform on [1, a]."""
    side_key, value_key = jax.random.split(key)
    low = jax.random.bernoulli(side_key, shape=shape)
    uniform = jax.random.uniform(value_key, shape)
    return jnp.where(low, 1 / bound + (1 - 1 / bound) * uniform, 1 + (bound - 1) * uniform)
