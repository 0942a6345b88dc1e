"""Sub-scores of trajectories, NAVSIM's, by the simulator's own rules: each is followed for 4 s.

A judged trajectory is a candidate of one agent. Its follower is a copy of the agent that tracks it by the LQR of
`simulator.dynamics.trajectory_actions`, in the traffic of a fork of the world in which every agent, this one included,
was driven by a policy. That traffic does not react to the follower:

- Exactly one agent departs at a time. If all agents of a fork departed together, what another agent's candidate does
  would change this agent's sub-scores, although neither its camera nor its trajectory shows it.
- A candidate is not excused by others who brake or swerve for it, as drivers from self-play do when they are cut off.
- One fork serves all candidates of all agents. Forks that react would take agents x candidates rollouts of whole worlds
  with the policy; a follower costs the dynamics and the rules of one agent.

NAVSIM's first version judges in this way, in logged traffic. The price: an agent that is closely followed is hit from
behind where its candidate brakes, and the two then drive through each other. The follower is not at fault for such a
contact; only the beginning of a contact is judged. Others behind it, and those that it has touched, are left out of
the time to collision.

| sub-score         | 1                                                            | else                           |
|-------------------|--------------------------------------------------------------|--------------------------------|
| no_collision      | is at fault for no contact (`metrics.at_fault`)              | 0                              |
| drivable_area     | no corner is further outside than `offroad_margin_m`         | 0                              |
| time_to_collision | is never within 0.9 s of one (`metrics.time_to_collision`)   | 0; undefined after a collision |
| progress          | gains as many metres along its route as the best             | the share, at least 0          |
| direction         | drives less than 2 m against the lanes within a second       | 0.5 below 6 m, else 0          |
| comfort           | keeps nuPlan's limits at every step (`metrics.comfort`)      | 0                              |

The best is the most that any candidate gained, times its no_collision, drivable_area and direction, or that the policy
gained. Where it is below LEAST_PROGRESS_M there is nowhere to go, and progress is 1 (NAVSIM). Ours: direction is 0 also
for a candidate that runs a red light or a stop sign. NAVSIM has a factor of its own for this and DrivoR no head for it;
without it those who wait would be judged by the progress of those who do not. What follows after the arrival at the
last goal does not count.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from simulator.array_field import ArrayField
from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import SimulatorConfig
from simulator.dynamics.bicycle import rear_poses
from simulator.dynamics.trajectory_actions import TrajectoryAction
from simulator.judging.followers import Moment, Record, advance, begin, last_goal_m
from simulator.judging.traffic import Traffic, traffic_of
from simulator.metrics.driving_quality import GROSS_WRONG_WAY_M, WRONG_WAY_M
from simulator.rollout import rollout
from simulator.state import WorldState

LEAST_PROGRESS_M = 5.0
"""Where the best gains less along the route within 4 s, all have a progress of 1 (NAVSIM)."""


@struct.dataclass
class SubScores:
    """The sub-scores of candidates, f32 in [0, 1]; leaves [judged, candidates]."""

    no_collision: ArrayField
    drivable_area: ArrayField
    time_to_collision: ArrayField
    progress: ArrayField
    direction: ArrayField
    comfort: ArrayField
    time_to_collision_known: ArrayField  # bool; the others always are


def judge(
    state: WorldState,
    traffic: Traffic,
    gained_m: Float[Array, "worlds agents"],
    agents: Int[Array, "judged 2"],
    poses: Float[Array, "judged candidates poses 3"],
    atlas: RoadAtlas,
    config: SimulatorConfig,
) -> SubScores:
    """Sub-scores of candidates of some agents of batched worlds.

    Args:
        state: The worlds now.
        traffic: What all agents did in the steps from now on, with the axes [steps, worlds, agents].
        gained_m: Metres along the route by which a policy came farther in these steps; 0 where it did not drive on.
        agents: World and index in it of the agents whose candidates these are.
        poses: Candidates: rear-axle poses (x, y m, yaw rad) as seen from the rear axle now.
        atlas: The maps.
        config: The rules.
    """
    before = jax.tree.map(
        lambda now, later: jnp.concatenate([now[None], later[:-1]]), traffic_of(state), traffic
    )
    start = rear_poses(state)

    def one(world_agent: Array, candidates: Array) -> SubScores:
        world, agent = world_agent
        size = state.scenario.size[world]
        steps, count = len(traffic.yaw), len(candidates)
        age_s = jnp.repeat(jnp.arange(steps)[:, None] * config.timestep_s, count, axis=1)
        action = TrajectoryAction(
            jnp.broadcast_to(candidates, (steps, *candidates.shape)),
            jnp.broadcast_to(start[world, agent], (steps, count, 3)),
            age_s,
        )
        moments = Moment(action, before.around(world, agent), traffic.around(world, agent))
        record, _ = rollout(
            lambda record, moment: moment,
            lambda record, moment: (advance(record, moment, size, atlas, config), None),
            begin(state, world, agent, count, config),
            moments,
        )
        return _scores(record, state.route_m[world, agent], gained_m[world, agent])

    return jax.vmap(one)(agents, poses)


def _scores(record: Record, began_m: Float[Array, ""], policy_m: Float[Array, ""]) -> SubScores:
    """The sub-scores of one agent's followers at the end, from where on its route they began and what the policy
    gained."""
    no_collision, drivable = 1.0 - record.collided, 1.0 - record.off_road
    worst_m = record.worst_second_m
    direction = 1.0 - 0.5 * (worst_m >= WRONG_WAY_M) - 0.5 * (worst_m >= GROSS_WRONG_WAY_M)
    direction = jnp.where(record.ran_signal, 0.0, direction)
    gained_m = jnp.minimum(record.world.route_m, last_goal_m(record.world)) - began_m
    best_m = jnp.maximum(policy_m, (gained_m * no_collision * drivable * direction).max())
    share = jnp.clip(gained_m / jnp.maximum(best_m, LEAST_PROGRESS_M), 0.0, 1.0)
    return SubScores(
        no_collision=no_collision,
        drivable_area=drivable,
        time_to_collision=1.0 - record.too_close,
        progress=jnp.where(best_m < LEAST_PROGRESS_M, 1.0, share),
        direction=direction,
        comfort=1.0 - record.uncomfortable,
        time_to_collision_known=~record.collided,
    )
