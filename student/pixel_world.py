"""`PixelWorld`: batched simulator worlds that a student sees through cameras and drives, with a teacher to ask.

Besides `student/bridge.py` this is the only file of the room that knows the simulator and the teacher.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jaxtyping import Array, Bool, Float, Int
from torch import Tensor

from renderer import CalibrationNoise, CameraRig, Scene
from simulator.config import SimulatorConfig
from simulator.conventions import NUM_POSES, POSE_SPACING_S
from simulator.dynamics.jerk_tracking import track
from simulator.metrics.summary import summarise
from simulator.reset.log_scenario import ReplayConfig
from simulator.reset.map_set import load_places
from simulator.reset.reset import RecordedStarts, begin, load_starts
from simulator.rollout import has_ended, needs_reset, select_worlds, step_worlds
from simulator.state import WorldState
from student import bridge
from student.agent_rigs import AgentRigs
from student.observation import Observation
from student.targets import Targets
from student.trajectory import Trajectory
from teacher.evaluation.logs import LOG_ROUTE_STATIONS
from teacher.label import Label, label
from teacher.observation.observe import observe
from teacher.policy import Policy, load_policy
from teacher.reward import careful_traits


@dataclass(frozen=True)
class PixelWorldConfig:
    """Worlds for a student. Physics, lights and dynamics are those that the teacher was trained in.

    A map is a town or a pack of recorded scenes (`womd.h5`, `womd.h5:train`, `womd.h5:NAME`, see
    `simulator.reset.map_set`). A world stays in its town, or with its pack: worlds of one pack begin with its scenes
    in turn, and draw one anew for every episode after that.
    """

    maps: tuple[str, ...] = ("Town01", "Town02", "Town03", "Town04", "Town05")  # dealt over the worlds
    replay: ReplayConfig | None = field(default_factory=ReplayConfig)  # of scenes; none: spawn as in towns
    num_worlds: int = 8
    num_agents: int = 16  # per world
    episode_s: float = 30.0  # training resets a world after it
    num_goals: int = 3
    goal_spacing_m: tuple[float, float] = (40.0, 80.0)
    careful_share: float = 1.0  # share of worlds whose drivers all have the careful traits that are evaluated
    teacher: str = "pretrained"  # policy file of the teacher, or "pretrained"
    teacher_greedy: bool = False  # the teacher takes its likeliest action when it drives (labels always do)
    drive_with: Literal["trajectory", "actions"] = "trajectory"  # which head of the student drives
    plan_s: float = 0.5  # time between two plans (2 Hz), a multiple of 0.5 s
    cameras: str | None = None  # camera file such as configs/cameras/nuplan.yaml; none: nuPlan's four
    calibration_noise: CalibrationNoise = field(default_factory=CalibrationNoise)  # of agents' cars; none
    calibration_rigs: int = 8  # cars that differ, if there is noise; each costs a call of the renderer
    height_px: int = 54
    width_px: int = 96
    backend: str = "auto"  # of the renderer

    def __post_init__(self) -> None:
        if not self.maps:
            raise ValueError("world.maps is empty; name at least one town or scene pack")
        for name in ("num_worlds", "num_agents", "calibration_rigs"):
            if getattr(self, name) < 1:
                raise ValueError(f"world.{name}={getattr(self, name)} must be at least 1")
        if not 0 <= self.careful_share <= 1:
            raise ValueError(f"world.careful_share={self.careful_share} must lie in [0, 1]")
        if self.drive_with not in ("trajectory", "actions"):
            raise ValueError(
                f"world.drive_with={self.drive_with!r} is unknown; use 'trajectory' or 'actions'"
            )
        periods = self.plan_s / POSE_SPACING_S
        if periods < 1 or abs(periods - round(periods)) > 1e-6 or periods > 4:
            raise ValueError(f"world.plan_s={self.plan_s} must be 0.5, 1.0, 1.5 or 2.0 s")


class PixelWorld:
    """Worlds in lockstep. `viewers` are the agents that drive now, as flat indices world * agents + agent;
    observations, labels and plans are in their order."""

    def __init__(
        self, config: PixelWorldConfig, device: torch.device | str = "cpu", teacher: Policy | None = None
    ) -> None:
        self.config = config
        self.device = torch.device(device)
        self.teacher = load_policy(config.teacher) if teacher is None else teacher
        self.simulator = replace(
            self.teacher.plain_simulator,
            num_agents=config.num_agents,
            episode_s=config.episode_s,
            num_goals=config.num_goals,
            goal_spacing_m=config.goal_spacing_m,
            detailed_metrics=True,
        )
        self.steps_per_plan = round(config.plan_s / self.simulator.timestep_s)
        rig = CameraRig.from_yaml(config.cameras) if config.cameras else CameraRig.nuplan()
        self.rig = rig.resized(config.height_px, config.width_px).to(self.device)
        self._rigs = AgentRigs(
            self.rig, config.calibration_noise, config.calibration_rigs, config.num_worlds, config.num_agents
        )
        self.places = load_places(config.maps)
        self.places.check_capacity(config.num_agents, replayed=config.replay is not None)
        self.atlas = self.places.atlas
        if config.replay is not None and self.places.recorded:
            stations = max(self.simulator.route_stations, LOG_ROUTE_STATIONS)
            self.simulator = replace(self.simulator, route_stations=stations)
        self._starts = load_starts(self.places, self.simulator, config.replay)
        self.ground = bridge.ground_library(self.places.road_maps).to(self.device)
        self.lights = bridge.light_table(self.atlas, self.device)
        # Compiled functions are shared between worlds of one size, whatever their episodes' length.
        self._rules = replace(self.simulator, episode_s=SimulatorConfig.episode_s)
        self.reset(0)

    def reset(self, seed: int, stagger: bool = False) -> None:
        """Fresh episodes in every world; `stagger` starts each at another age, so that they do not end together."""
        self._key, age_key = jax.random.split(jax.random.key(seed))
        self._rigs.reset(seed)
        worlds = [self._fresh(index, in_turn=True) for index in range(self.config.num_worlds)]
        self.state: WorldState = _committed(jax.tree.map(lambda *leaves: jnp.stack(leaves), *worlds))
        if stagger:
            age = jax.random.randint(age_key, (self.config.num_worlds,), 0, self.simulator.episode_steps)
            age = jnp.where(self._replays, 0, age)  # a recording starts where it starts
            self.state = self.state.replace(step=_committed(age))
        self.agent_steps = 0
        self.draw_drivers(0.0)
        self._look()

    def reset_finished(self) -> int:
        """Fresh episodes where one, or its recording, is over or at least 40 % of the agents stopped driving; returns
        how many."""
        finished = np.flatnonzero(np.asarray(needs_reset(self.state, self.simulator)))
        for index in finished:
            self.state = _put(self.state, self._fresh(int(index), in_turn=False), index)
        if len(finished):
            self._look()
        return len(finished)

    def _fresh(self, index: int, in_turn: bool) -> WorldState:
        """A new episode for one world: it stays in its town or with its pack, in the scene whose turn it is or a random
        one; its agents get other cameras."""
        self._rigs.begin_episode(index)
        turn, entry = divmod(index, len(self.places.entries))
        maps = self.places.entries[entry]
        if in_turn:
            turn %= len(maps)
            maps = maps[turn : turn + 1]
        bounds = jnp.asarray([maps.start, maps.stop], jnp.int32)
        share = self.config.careful_share
        return _fresh_world(self._next_key(), self.atlas, bounds, share, self._rules, self._starts)

    def draw_drivers(self, beta: float) -> None:
        """Decide for every agent, with probability `beta`, that the teacher drives it from now on."""
        shape = (self.config.num_worlds, self.config.num_agents)
        self._by_teacher = jax.random.bernoulli(self._next_key(), beta, shape)
        self._beta = beta

    @property
    def teacher_drives_all(self) -> bool:
        """Whether no agent is left to the student."""
        return self._beta >= 1.0

    def scene(self, agents: Int[Tensor, " viewers"] | None = None) -> Scene:
        """The worlds now, as `agents` (flat indices) see them, driving or not; as the viewers do by default. It shares
        memory with the state, see `bridge.scene`."""
        viewers = self._viewers if agents is None else agents
        return bridge.scene(self.state, self._seen, self.lights, self.ground, viewers)

    def observe(self) -> Observation:
        """What every viewer sees now."""
        images = self._rigs.render(self.scene(), self.viewers, ("rgb",), self.config.backend).rgb
        mask = torch.ones(images.shape[:2], dtype=torch.bool, device=self.device)
        return Observation(images, mask, *self._of_viewers(bridge.ego_inputs(self.state, self._seen)))

    def label(self) -> Targets:
        """The teacher's future and action for every viewer; weight 1 where the label is valid, else 0.

        Valid means that the agent still drives after the forked 4 s: it neither crashed, left the road nor arrived.
        """
        found = _label(self._next_key(), self.state, self.teacher, self.atlas, self._rules)
        answer = (found.trajectory, found.action, found.valid)
        poses, action, valid = self._of_viewers([bridge.to_torch(part).flatten(0, 1) for part in answer])
        return Targets(Trajectory(poses), action.long(), valid.float())

    def follow(self, trajectory: Trajectory | None) -> None:
        """Drive until the next plan: the teacher its own agents, the others by tracking the viewers' trajectories.

        Without trajectories nobody may be left to the student.
        """
        plan = torch.zeros(self._num_flat, NUM_POSES, 3, device=self._viewers.device)
        if trajectory is not None:
            axles = bridge.to_torch(self._seen.rear_axle).flatten(0, 1)[self._viewers]
            poses = self._checked(trajectory.poses).to(axles.device)
            plan[self._viewers] = Trajectory(poses).in_world(axles)
        elif not self.teacher_drives_all:
            raise ValueError(
                "no trajectories were given, but some agents are left to the student; see draw_drivers"
            )
        self._advance(plan, None, self.steps_per_plan)

    def act(self, action: Int[Tensor, " viewers"]) -> None:
        """Drive one simulator step with the viewers' discrete actions."""
        flat = torch.zeros(self._num_flat, dtype=torch.int32, device=self._viewers.device)
        flat[self._viewers] = self._checked(action).to(flat.device, torch.int32)
        self._advance(None, flat, 1)

    def metrics(self) -> dict[str, float | None]:
        """The flat closed-loop metrics of the episodes so far."""
        logged_m = None
        if self._starts is not None:  # a recorded driver's only goal is its log's last place
            logged_m = jnp.where(self._replays[:, None], self.state.scenario.goal_m[..., 0], 0.0)
        return summarise(self.state, self.agent_steps, 0.0, logged_m).to_json()

    def state_dict(self) -> dict[str, Any]:
        """Everything the future depends on, as tensors."""
        leaves = [torch.from_numpy(np.array(leaf)) for leaf in jax.tree.leaves(self.state)]
        key = torch.from_numpy(np.array(jax.random.key_data(self._key)).view(np.int32))
        rigs = self._rigs.state_dict()
        return {"leaves": leaves, "key": key, "agent_steps": self.agent_steps, "rigs": rigs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken; the worlds must have the same shape."""
        here, treedef = jax.tree.flatten(self.state)
        stored = state_dict["leaves"]
        if [tuple(leaf.shape) for leaf in stored] != [leaf.shape for leaf in here]:
            raise ValueError(
                "the checkpoint holds worlds of another size than the config asks for; resume with the same "
                "num_worlds, num_agents and num_goals"
            )
        self._rigs.load_state_dict(state_dict.get("rigs", {}))  # older checkpoints know no noise
        self.state = _committed(jax.tree.unflatten(treedef, [jnp.array(leaf.numpy()) for leaf in stored]))
        self._key = jax.random.wrap_key_data(jnp.asarray(state_dict["key"].numpy().view(np.uint32)))
        self.agent_steps = state_dict["agent_steps"]
        self._look()

    def _advance(self, plan: Tensor | None, action: Tensor | None, num_steps: int) -> None:
        shape = (self.config.num_worlds, self.config.num_agents)
        inputs = [
            None if part is None else bridge.to_jax(part).reshape(*shape, *part.shape[1:])
            for part in (plan, action)
        ]
        self.state, taken = _drive(
            self._next_key(), self.state, self._by_teacher, *inputs, self.teacher, self.atlas, self._rules,
            num_steps=num_steps, teacher_drives=self._beta > 0, greedy=self.config.teacher_greedy,
        )  # fmt: skip
        self.agent_steps += int(taken)
        self._look()

    def _look(self) -> None:
        """Refresh what the pictures are drawn from, and who looks: whoever drives, until the recording is over."""
        self._seen, drives = _look(self.state, self.lights.stops, self.atlas, self._rules)
        self._viewers = bridge.to_torch(drives).flatten().nonzero()[:, 0]  # where the worlds are
        self.viewers = self._viewers.cpu()

    def _next_key(self) -> Array:
        self._key, key = jax.random.split(self._key)
        return key

    def _of_viewers(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """The viewers' rows of tensors [worlds * agents, ...] from the worlds' device, on the student's."""
        return [part[self._viewers].to(self.device) for part in parts]

    @property
    def _replays(self) -> Bool[Array, " worlds"]:
        """Worlds that replay a recording now."""
        if self._starts is None:
            return jnp.zeros(self.config.num_worlds, bool)
        return self._starts.row[self.state.map_id] >= 0

    @property
    def _num_flat(self) -> int:
        return self.config.num_worlds * self.config.num_agents

    def _checked(self, values: Tensor) -> Tensor:
        if len(values) != len(self.viewers):
            raise ValueError(f"{len(values)} plans were given for {len(self.viewers)} driving agents")
        return values


@partial(jax.jit, static_argnames="rules")
def _fresh_world(
    key: Array,
    atlas: Any,
    maps: Int[Array, " 2"],
    careful_share: Array | float,
    rules: SimulatorConfig,
    starts: RecordedStarts | None,
) -> WorldState:
    """One new episode on one of the maps from the first to before the second of `maps`; with probability
    `careful_share` all its drivers are careful."""
    world_key, share_key, map_key = jax.random.split(key, 3)
    map_id = jax.random.randint(map_key, (), maps[0], maps[1])
    world = begin(world_key, atlas, map_id, rules, starts)
    careful = jax.random.bernoulli(share_key, careful_share)
    traits = jnp.where(careful, careful_traits(), world.scenario.traits)
    return world.replace(scenario=world.scenario.replace(traits=traits))


@jax.jit
def _put(worlds: WorldState, world: WorldState, index: Array) -> WorldState:
    """`worlds` with one of them replaced."""
    return jax.tree.map(lambda all_leaves, leaf: all_leaves.at[index].set(leaf), worlds, world)


def _committed(tree: Any) -> Any:
    """The same arrays, bound to their device: what comes out of DLPack is, and a mixture would compile twice."""
    return jax.device_put(tree, jax.devices()[0])


@partial(jax.jit, static_argnames="rules")
def _look(
    state: WorldState, stops: Int[Array, "maps lights"], atlas: Any, rules: SimulatorConfig
) -> tuple[bridge.Drawable, Bool[Array, "worlds agents"]]:
    """What pictures are drawn from, and who drives."""
    return bridge.drawable(state, stops, atlas, rules), state.active & ~has_ended(state)[:, None]


@partial(jax.jit, static_argnames="rules")
def _label(key: Array, state: WorldState, teacher: Policy, atlas: Any, rules: SimulatorConfig) -> Label:
    """Labels in worlds of this size: the fork obeys the same rules as the world it leaves, and keeps no figures."""
    plain = replace(rules, detailed_metrics=False)
    return label(key, state.replace(conduct=None), teacher.replace(simulator=plain), atlas, greedy=True)


@partial(jax.jit, static_argnames=("rules", "num_steps", "teacher_drives", "greedy"))
def _drive(
    key: Array,
    state: WorldState,
    by_teacher: Bool[Array, "worlds agents"],
    plan: Float[Array, "worlds agents poses 3"] | None,
    action: Int[Array, "worlds agents"] | None,
    teacher: Policy,
    atlas: Any,
    rules: SimulatorConfig,
    num_steps: int,
    teacher_drives: bool,
    greedy: bool,
) -> tuple[WorldState, Int[Array, ""]]:
    """`num_steps` steps of all worlds; returns the last state and the agent-steps taken.

    Every agent acts by the teacher where `by_teacher`, else by tracking its plan (rear-axle poses in the world
    frame) or by its action. `teacher_drives` says at compile time whether the teacher is needed at all. Worlds whose
    recording is over stand still.
    """

    def one(
        carry: tuple[WorldState, Array], inputs: tuple[Array, Array]
    ) -> tuple[tuple[WorldState, Array], None]:
        world, taken = carry
        act_key, index = inputs
        chosen = action
        if plan is not None:
            since = index.astype(jnp.float32) * rules.timestep_s
            chosen = jax.vmap(track, (0, 0, None, None))(world, plan, since, rules)
        if teacher_drives:
            seen = jax.vmap(observe, (0, None, None, None))(world, atlas, rules, teacher.observation)
            chosen = jnp.where(by_teacher, teacher.act(seen, act_key, greedy), chosen)
        following, _ = step_worlds(world, chosen, atlas, rules)
        drives = world.active
        if world.scenario.logged is not None:
            goes_on = ~has_ended(world)
            following = select_worlds(goes_on, following, world)
            drives = drives & goes_on[:, None]
        return (following, taken + drives.sum()), None

    start = (state, jnp.zeros((), jnp.int32))
    (state, taken), _ = jax.lax.scan(one, start, (jax.random.split(key, num_steps), jnp.arange(num_steps)))
    return state, taken
