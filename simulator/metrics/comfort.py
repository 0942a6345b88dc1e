"""nuPlan's comfort limits, which NAVSIM uses too, on an agent's acceleration, jerk and yaw rate.

    longitudinal acceleration   -4.05 to 2.40 m/s2      mean of the last 0.8 s
    lateral acceleration        at most 4.89 m/s2       mean of the last 0.8 s
    yaw rate                    at most 0.95 rad/s      mean of the last 0.8 s
    longitudinal jerk           at most 4.13 m/s3       slope over the last 1.5 s
    jerk                        at most 8.37 m/s3       slope of the acceleration's magnitude over the last 1.5 s
    yaw acceleration            at most 1.93 rad/s2     slope of the yaw rate over the last 1.5 s

Slopes are those of least-squares lines. nuPlan smooths over as many samples with Savitzky-Golay filters, which use
samples on both sides; ours use past samples only, so that a step can be evaluated when it is made. Accelerations are
computed from the change of speed and yaw, whatever model moved the agent.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from simulator.angles import wrap_angle
from simulator.state import WorldState

LEAST_LONGITUDINAL_MPS2, MOST_LONGITUDINAL_MPS2 = -4.05, 2.40
MOST_LATERAL_MPS2 = 4.89
MOST_JERK_MPS3, MOST_LONGITUDINAL_JERK_MPS3 = 8.37, 4.13
MOST_YAW_RATE_RADPS, MOST_YAW_ACCELERATION_RADPS2 = 0.95, 1.93
MEAN_S, SLOPE_S = 0.8, 1.5


def history_steps(timestep_s: float) -> int:
    """Steps of history that `comfortable` needs: 1.5 s, at least two steps."""
    return max(round(SLOPE_S / timestep_s), 2)


def acceleration_and_yaw_rate(
    state: WorldState, next_state: WorldState, timestep_s: float
) -> Float[Array, "agents 3"]:
    """Longitudinal and lateral acceleration (m/s2) and yaw rate (rad/s) of one step, in this order."""
    longitudinal = (next_state.speed - state.speed) / timestep_s
    yaw_rate = wrap_angle(next_state.yaw - state.yaw) / timestep_s
    return jnp.stack([longitudinal, 0.5 * (state.speed + next_state.speed) * yaw_rate, yaw_rate], axis=-1)


def comfortable(history: Float[Array, "agents steps 3"], timestep_s: float) -> Bool[Array, " agents"]:
    """Whether each agent keeps all limits; ``history`` holds its `acceleration_and_yaw_rate`, oldest first."""
    recent = max(round(MEAN_S / timestep_s), 1)
    longitudinal, lateral, yaw_rate = jnp.moveaxis(history[:, -recent:].mean(axis=1), -1, 0)
    jerk = _slope(jnp.hypot(history[..., 0], history[..., 1]), timestep_s)
    return (
        (longitudinal > LEAST_LONGITUDINAL_MPS2)
        & (longitudinal < MOST_LONGITUDINAL_MPS2)
        & (jnp.abs(lateral) < MOST_LATERAL_MPS2)
        & (jnp.abs(yaw_rate) < MOST_YAW_RATE_RADPS)
        & (jnp.abs(_slope(history[..., 0], timestep_s)) < MOST_LONGITUDINAL_JERK_MPS3)
        & (jnp.abs(jerk) < MOST_JERK_MPS3)
        & (jnp.abs(_slope(history[..., 2], timestep_s)) < MOST_YAW_ACCELERATION_RADPS2)
    )


def _slope(values: Float[Array, "agents steps"], timestep_s: float) -> Float[Array, " agents"]:
    """Slope per second of the least-squares line through evenly spaced values."""
    steps = values.shape[1]
    time = timestep_s * (np.arange(steps) - 0.5 * (steps - 1))
    weights = (time / np.sum(time**2)).astype(np.float32)
    return (values * weights).sum(axis=1)
