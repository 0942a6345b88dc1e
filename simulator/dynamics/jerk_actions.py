"""The 12 jerk actions as an action model: GIGAFLOW's, whose forward step is `bicycle.advance_by_jerks`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from simulator.angles import wrap_angle
from simulator.conventions import COAST, HARDEST_BRAKING, NUM_JERK_ACTIONS
from simulator.dynamics.bicycle import ACTIONS, Motion, Vehicle, advance_by_jerks, jerks_of
from simulator.dynamics.log_window import Ahead

_CALM_FIRST = np.argsort(np.abs(ACTIONS).sum(axis=1), kind="stable").astype(np.int32)
"""Actions in order of increasing jerk: of several with the same effect, the one with the least jerk is found first."""

_ROUNDING_MPS2 = 1e-3


def _settled(motion: Motion) -> Motion:
    """The motion with accelerations that are only rounding errors set to 0.

    From -1e-7 m/s2 a jerk to the left is snapped to 0, and only the next one leads further. A search one jerk ahead
    would find no difference between that and no jerk, and never steer left again.
    """
    acceleration, lateral = motion.acceleration, motion.lateral_acceleration
    return motion.replace(
        acceleration=jnp.where(jnp.abs(acceleration) < _ROUNDING_MPS2, 0.0, acceleration),
        lateral_acceleration=jnp.where(jnp.abs(lateral) < _ROUNDING_MPS2, 0.0, lateral),
    )


@dataclass(frozen=True)
class JerkActions:
    """The 12 actions of `bicycle.ACTIONS`; `simulator.dynamics.action_model.ActionModel` documents the methods.

    Attributes:
        horizon_s: How far ahead `toward` compares prediction and log.
        effort: Weight of the squared accelerations that an action leads to (m2 per (m/s2)2).
    """

    horizon_s: float = 1.0
    effort: float = 1e-4
    num_actions: ClassVar[int] = NUM_JERK_ACTIONS

    def forward(
        self, motion: Motion, action: Int[Array, "*agents"], vehicle: Vehicle, timestep_s: float
    ) -> Motion:
        """One step of `bicycle.advance_by_jerks` under the jerks of an action index [...]."""
        return advance_by_jerks(motion, jerks_of(action), vehicle, timestep_s)

    def inverse(
        self, before: Motion, after: Motion, vehicle: Vehicle, timestep_s: float
    ) -> Int[Array, "*agents"]:
        """The action [...] whose step ends nearest to ``after``; among equally near ones the one with the least jerk.

        The distance includes everything that a step changes. A jerk changes the accelerations to first order in
        ``timestep_s`` and the position to third order. The result for a motion taken from a log is therefore only as
        accurate as its accelerations; use `toward` for logs.
        """
        found = self._try_all(before, vehicle, timestep_s)
        wanted = jax.tree.map(lambda field: field[..., None], after)
        difference = jax.tree.map(lambda a, b: a - b, found, wanted)
        difference = difference.replace(
            yaw=wrap_angle(difference.yaw) * vehicle.wheelbase[..., None],
            steering=difference.steering * vehicle.wheelbase[..., None],
        )
        squares = jax.tree.map(jnp.square, difference)
        return jnp.asarray(_CALM_FIRST)[jnp.argmin(sum(jax.tree.leaves(squares)), axis=-1)]

    def toward(
        self, motion: Motion, ahead: Ahead, vehicle: Vehicle, timestep_s: float
    ) -> Int[Array, "*agents"]:
        """The action [...] that leads nearest to the log's next poses if it is followed by steps without jerk."""
        first = self._try_all(_settled(motion), vehicle, timestep_s)
        each = jax.tree.map(lambda field: field[..., None], vehicle)

        def coast(now: Motion, _: None) -> tuple[Motion, Motion]:
            return advance_by_jerks(now, jnp.asarray(ACTIONS)[COAST], each, timestep_s), now

        _, path = jax.lax.scan(coast, first, length=ahead.x.shape[-1])
        x, y, yaw = (jnp.moveaxis(field, 0, -1) for field in (path.x, path.y, path.yaw))
        each_ahead = jax.tree.map(lambda field: field[..., None, :], ahead)
        effort = first.acceleration**2 + first.lateral_acceleration**2
        cost = each_ahead.misfit(x, y, yaw) + self.effort * effort
        return jnp.asarray(_CALM_FIRST)[jnp.argmin(cost, axis=-1)]

    def hardest_braking(self, action: Int[Array, "*agents"]) -> Int[Array, "*agents"]:
        """The hardest braking, straight ahead, for every agent."""
        return jnp.full_like(action, HARDEST_BRAKING)

    def _try_all(self, motion: Motion, vehicle: Vehicle, timestep_s: float) -> Motion:
        """Where every action leads, fields [..., 12], in the order of `_CALM_FIRST`."""
        motion, vehicle = jax.tree.map(lambda field: field[..., None], (motion, vehicle))
        return advance_by_jerks(motion, jnp.asarray(ACTIONS[_CALM_FIRST]), vehicle, timestep_s)


JERK_ACTIONS = JerkActions()
"""The default action model of `simulator.step.step`."""
