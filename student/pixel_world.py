"""`PixelWorld`: batched simulator worlds with camera observations, labels of the teacher, and control by plans.

Besides `student/bridge` the only file of the package that imports the teacher and the simulator's worlds.
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
from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import SimulatorConfig
from simulator.conventions import NUM_POSES, POSE_SPACING_S
from simulator.dynamics.action_model import StepModel
from simulator.dynamics.bicycle import rear_poses
from simulator.dynamics.jerk_actions import JERK_ACTIONS
from simulator.dynamics.mixed_actions import MixedAction
from simulator.dynamics.trajectory_actions import TRAJECTORY_ACTIONS, TrajectoryAction
from simulator.metrics.summary import summarise
from simulator.reset.log_scenario import ReplayConfig
from simulator.reset.map_set import load_map_set
from simulator.reset.mixed_reset import LogInitialStates, load_log_initial_states, reset_mixed
from simulator.rollout import Step, has_ended, needs_reset, rollout, step_fn_of
from simulator.state import WorldState
from student.agent_rigs import AgentRigs
from student.batch import Label
from student.bridge.dlpack import to_jax, to_torch
from student.bridge.ground import ground_library
from student.bridge.judging import judged_proposals
from student.bridge.labelling import LabelSight, forked_label, forked_label_elsewhere, sight_of
from student.bridge.mixed_driving import (
    JERKS_OR_TRAJECTORIES,
    StartedPlan,
    draw_followers,
    drive_mixed_step,
    metrics_by_head,
    start_plan,
)
from student.bridge.scene import (
    RenderInputs,
    ego_inputs,
    light_table,
    render_inputs,
    scene_of_worlds,
    target_points,
)
from student.bridge.situations import surroundings
from student.dagger.situations import situation_of
from student.observation import (
    TARGET_SCALE_M,
    Observation,
    Told,
    command_from_heading_change,
    one_hot_command,
)
from student.one_student import OneStudent
from student.sub_scores import JudgedProposals
from student.tensor_batch import TensorBatch
from student.trajectory import Trajectory
from teacher.evaluation.logs import LOG_ROUTE_STATIONS
from teacher.label import Label as TeacherLabel
from teacher.observation.observe import observe_worlds
from teacher.policy import Policy, load_policy
from teacher.reward import default_traits, reward

TOLD_APART_M = 2.0
"""Target points so far apart tell of another route (our choice)."""


@dataclass(frozen=True)
class PixelWorldConfig:
    """Worlds for a student. Physics, lights and dynamics are those that the teacher was trained in.

    A map is a town or a pack of recorded scenes (`womd.h5`, `womd.h5:train`, `womd.h5:NAME`, see
    `simulator.reset.map_set`). A world keeps its town or its pack: worlds of one pack start with its scenes in turn,
    and draw one at random for every later episode.

    `drive_with` selects the head of the student that drives. With `trajectory` a trajectory is planned every `plan_s`
    and tracked until the next one. With `actions` the student is given a new observation, and its most likely jerk
    action is applied, at every simulator step (`timestep_s` of the teacher's simulator); labels are still made every
    `plan_s`. With `mixed` some agents follow their trajectories and the others act, as in the paper; `trajectory_share`
    says how many, and they are drawn with each episode of a world. Any command takes these settings, for example
    `gigapixel student test --data.world.drive_with actions`.
    """

    maps: tuple[str, ...] = ("Town01", "Town02", "Town03", "Town04", "Town05")  # assigned to worlds in turn
    replay: ReplayConfig | None = field(default_factory=ReplayConfig)  # of scenes; none: spawn as in towns
    num_worlds: int = 8
    num_agents: int = 16  # per world
    episode_s: float = 30.0  # training resets a world after it
    num_goals: int = 3
    goal_spacing_m: tuple[float, float] = (40.0, 80.0)
    careful_share: float = 1.0  # share of worlds whose agents all have the default (evaluation) conditioning
    teacher: str = "pretrained"  # policy file of the teacher, or "pretrained"
    teacher_greedy: bool = False  # the teacher drives by its most likely action (labels always do)
    drive_with: Literal["trajectory", "actions", "mixed"] = "trajectory"  # heads that drive, see above
    trajectory_share: float | None = None
    """mixed: share of the agents that follow their trajectories; none: one agent of each world does."""
    target_points: int = 0  # of the route, that the student is given beside the command; set by model.policy
    plan_s: float = 0.5  # time between two plans (2 Hz), a multiple of 0.5 s
    incomplete_labels: Literal["drop", "mask"] = "drop"
    """Labels of agents that crash, leave the road or arrive within the teacher's 4 s: not used, or used with the poses
    before that moment (training only)."""
    label_sight: LabelSight = "all"
    """Which other agents the teacher observes while it labels: all in its range, those that no other box occludes, or
    those of them that are in the view of a camera. Its driving is as ever."""
    students: Literal["all", "one"] = "all"  # one: of each world; the teacher drives its other agents
    cameras: str | None = None  # camera file such as configs/cameras/nuplan.yaml; none: nuPlan's four
    calibration_noise: CalibrationNoise = field(default_factory=CalibrationNoise)  # of each agent; none
    calibration_rigs: int = 8  # perturbed rigs, if there is noise; each costs a call of the renderer
    height_px: int = 54
    width_px: int = 96
    backend: str = "auto"  # of the renderer

    def __post_init__(self) -> None:
        if not self.maps:
            raise ValueError("world.maps is empty; name at least one town or scene pack")
        if self.target_points < 0:
            raise ValueError(f"world.target_points={self.target_points} must not be negative (0: none)")
        for name in ("num_worlds", "num_agents", "calibration_rigs"):
            if getattr(self, name) < 1:
                raise ValueError(f"world.{name}={getattr(self, name)} must be at least 1")
        if not 0 <= self.careful_share <= 1:
            raise ValueError(f"world.careful_share={self.careful_share} must lie in [0, 1]")
        if self.drive_with not in ("trajectory", "actions", "mixed"):
            raise ValueError(
                f"world.drive_with={self.drive_with!r} is unknown; use 'trajectory', 'actions' or 'mixed'"
            )
        if self.trajectory_share is not None and not 0 <= self.trajectory_share <= 1:
            raise ValueError(f"world.trajectory_share={self.trajectory_share} must lie in [0, 1], or be null")
        if self.incomplete_labels not in ("drop", "mask"):
            raise ValueError(
                f"world.incomplete_labels={self.incomplete_labels!r} is unknown; use 'drop' or 'mask'"
            )
        if self.label_sight not in ("all", "unoccluded", "cameras"):
            raise ValueError(
                f"world.label_sight={self.label_sight!r} is unknown; use 'all', 'unoccluded' or 'cameras'"
            )
        if self.students not in ("all", "one"):
            raise ValueError(f"world.students={self.students!r} is unknown; use 'all' or 'one'")
        periods = self.plan_s / POSE_SPACING_S
        if periods < 1 or abs(periods - round(periods)) > 1e-6 or periods > 4:
            raise ValueError(f"world.plan_s={self.plan_s} must be 0.5, 1.0, 1.5 or 2.0 s")


@dataclass(frozen=True)
class Reward(TensorBatch):
    """What the agents that acted got for one simulator step."""

    reward: Float[Tensor, " ego_agents"]  # `teacher.reward.reward`, by the traits of each agent
    terminated: Bool[Tensor, " ego_agents"]  # it crashed, left the road or arrived: it acts no more


class PixelWorld:
    """Batched worlds that advance together.

    Attributes:
        ego_agents: Flat indices world * num_agents + agent of the agents that drive now, with `students: one` of the
            students among them, [ego_agents] int64 on the CPU. Observations, labels, trajectories and actions are in
            their order.
        teacher_mask: Agents that the teacher drives, [worlds, agents] bool, see `assign_teacher`.
        followers: With `drive_with: mixed` the agents that follow their trajectories, [worlds, agents] bool, else
            nobody.
        agent_steps: Steps driven since the last `reset`, summed over agents.
    """

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
        self._view = sight_of(config.label_sight, self.rig)
        self._rigs = AgentRigs(
            self.rig, config.calibration_noise, config.calibration_rigs, config.num_worlds, config.num_agents
        )
        self._one_student = OneStudent(config.num_worlds) if config.students == "one" else None
        self.map_set = load_map_set(config.maps)
        self.map_set.check_capacity(config.num_agents, replayed=config.replay is not None)
        self.atlas = self.map_set.atlas
        if config.replay is not None and self.map_set.log_maps:
            stations = max(self.simulator.route_stations, LOG_ROUTE_STATIONS)
            self.simulator = replace(self.simulator, route_stations=stations)
        self._starts = load_log_initial_states(self.map_set, self.simulator, config.replay)
        self.ground = ground_library(self.map_set.road_maps).to(self.device)
        self.lights = light_table(self.atlas, self.device)
        # Compiled functions are shared between worlds of one size, whatever their episodes' length.
        self._rules = replace(self.simulator, episode_s=SimulatorConfig.episode_s)
        self.reset(0)

    def reset(self, seed: int, stagger: bool = False) -> None:
        """New episodes in every world; with `stagger` each starts at a random step, so that they do not end
        together."""
        self._key, age_key = jax.random.split(jax.random.key(seed))
        self._rigs.reset(seed)
        self.followers = np.zeros((self.config.num_worlds, self.config.num_agents), bool)
        if self._one_student is not None:
            self._one_student.reset(seed)
        worlds = [self._new_episode(index, in_turn=True) for index in range(self.config.num_worlds)]
        self.state: WorldState = _committed(jax.tree.map(lambda *leaves: jnp.stack(leaves), *worlds))
        if stagger:
            age = jax.random.randint(age_key, (self.config.num_worlds,), 0, self.simulator.episode_steps)
            age = jnp.where(self._replays, 0, age)  # a log is replayed from its start
            self.state = self.state.replace(step=_committed(age))
        self.agent_steps = 0
        self._refresh()
        self.assign_teacher(0.0)

    def reset_finished(self) -> int:
        """New episodes in worlds whose episode or log has ended or where at least 40 % of the agents no longer drive;
        returns how many."""
        finished = np.flatnonzero(np.asarray(needs_reset(self.state, self.simulator)))
        for index in finished:
            self.state = _replace_world(self.state, self._new_episode(int(index), in_turn=False), index)
        if len(finished):
            self._refresh()
        return len(finished)

    def _new_episode(self, index: int, in_turn: bool) -> WorldState:
        """A new episode of one world in its town, or in a scene of its pack: the next `in_turn`, else a random one. Its
        agents' rigs are drawn again."""
        self._rigs.begin_episode(index)
        if self._one_student is not None:
            self._one_student.begin_episode(index)
        turn, entry = divmod(index, len(self.map_set.entries))
        maps = self.map_set.entries[entry]
        if in_turn:
            turn %= len(maps)
            maps = maps[turn : turn + 1]
        bounds = jnp.asarray([maps.start, maps.stop], jnp.int32)
        key, share = self._next_key(), self.config.careful_share
        world = _reset_world(key, self.atlas, bounds, share, self._rules, self._starts)
        if self.config.drive_with == "mixed":
            self.followers[index] = draw_followers(key, world.spawned, self.config.trajectory_share)
        return world

    def assign_teacher(self, beta: float) -> None:
        """From now on the teacher drives each agent with probability `beta`, drawn independently, and all agents that
        are no students."""
        shape = (self.config.num_worlds, self.config.num_agents)
        self.teacher_mask = jax.random.bernoulli(self._next_key(), beta, shape)
        if self._one_student is not None:
            students = np.zeros(shape, bool)
            students.reshape(-1)[self.ego_agents.numpy()] = True
            self.teacher_mask = self.teacher_mask | ~jnp.asarray(students)
        self._beta = beta

    @property
    def teacher_drives_all(self) -> bool:
        """Whether the teacher drives all agents."""
        return self._beta >= 1.0

    def scene(self, agents: Int[Tensor, " agents"] | None = None) -> Scene:
        """The worlds now, viewed by `agents` (flat indices), driving or not; by default by the ego agents. It shares
        memory with the state, see `scene_of_worlds`."""
        viewers = self._ego_agents if agents is None else agents
        return scene_of_worlds(self.state, self._render_inputs, self.lights, self.ground, viewers)

    def observe(self, among: Bool[Tensor, " ego_agents"] | None = None) -> Observation:
        """The observation of every ego agent now, or of those `among` them."""
        viewers = self.ego_agents if among is None else self.ego_agents[among]
        scene = self.scene(None if among is None else viewers)
        images = self._rigs.render(scene, viewers, ("rgb",), self.config.backend).rgb
        mask = torch.ones(images.shape[:2], dtype=torch.bool, device=self.device)
        parts = list(ego_inputs(self.state, self._render_inputs))
        if self.config.target_points:
            parts.append(to_torch(target_points(self.state, self.config.target_points)).flatten(0, 1))
        rows = self._ego_rows(parts)
        if among is not None:
            rows = [part[among.to(self.device)] for part in rows]
        return Observation(images, mask, *rows)

    def label(self) -> Label:
        """The teacher's label for every ego agent: its trajectory over the next 4 s and its action now.

        A label is valid if the agent still drives after the forked 4 s: it neither crashed, left the road nor arrived.
        With `incomplete_labels: mask` it is valid if the agent still drives at the first pose, and `pose_valid` masks
        the later ones.
        """
        return self._label_of(
            forked_label(self._next_key(), self.state, self.teacher, self.atlas, self._rules, self._view)
        )

    def label_elsewhere(self, share: float) -> tuple[Label, Told]:
        """Labels of the ego agents, as if a random `share` of them had other routes and goals from where they are
        (`simulator.reset.other_routes`), and what they are told of these. The worlds do not change.

        A label is valid as those of `label` are, if also the command differs from the present one or a target point
        lies TOLD_APART_M from the present one.
        """
        points = self.config.target_points
        forked, elsewhere, other = forked_label_elsewhere(
            self._next_key(), self.state, share, self.teacher, self.atlas, self._rules, self._view
        )
        label = self._label_of(forked)
        (changed,) = self._ego_rows([to_torch(elsewhere).flatten()])
        changes = (self._render_inputs.heading_change, other.heading_change)
        here, there = self._ego_rows(
            [one_hot_command(command_from_heading_change(to_torch(part).flatten())) for part in changes]
        )
        differs, targets = (here != there).any(1), None
        if points:
            before, targets = self._ego_rows(
                [to_torch(target_points(part, points)).flatten(0, 1) for part in (self.state, other.state)]
            )
            apart = TARGET_SCALE_M * torch.linalg.vector_norm(before - targets, dim=-1)
            differs |= (apart > TOLD_APART_M).any(1)
        return replace(label, valid=label.valid & changed & differs), Told(there, targets)

    def situations(self, command: Float[Tensor, "ego_agents commands"]) -> Int[Tensor, " ego_agents"]:
        """Class of each ego agent's state now under its command, an index into
        `student.dagger.situations.SITUATIONS`."""
        around = surroundings(self.state, self.atlas, self._rules)
        before_red, near_others = self._ego_rows([to_torch(part).flatten() for part in around])
        return situation_of(before_red, near_others, command)

    def judge(
        self, rows: Int[Tensor, " judged"], candidates: Float[Tensor, "judged proposals poses 3"], places: int
    ) -> JudgedProposals:
        """Sub-scores of trajectories of some ego agents, at most ``places``, were they followed from now on; ``rows``
        are places in `ego_agents`. Each is judged by itself, while all other agents act as the teacher, see
        `simulator.judging.sub_scores`. The worlds do not change.

        Raises ValueError for poses that are not finite.
        """
        Trajectory(candidates.flatten(0, 1)).validate()
        agents = self._ego_agents[rows.to(self._ego_agents.device)]
        judged = judged_proposals(
            self.state, self.teacher, self.atlas, self._rules, agents, candidates, places
        )
        return judged.to(self.device)

    def follow(self, trajectory: Trajectory | None) -> None:
        """Drive until the next plan: agents of the teacher by its actions, the others by tracking the trajectories of
        the ego agents.

        Raises ValueError for trajectories of another number of poses or agents or with poses that are not finite, and
        for None unless the teacher drives all agents.
        """
        plan = None
        if trajectory is not None:
            plan = self._flat_plan(trajectory)
        elif not self.teacher_drives_all:
            raise ValueError(
                "no trajectories were given, but the student drives some agents; see assign_teacher"
            )
        self._advance(plan, None, self.steps_per_plan)

    def act(self, action: Int[Tensor, " ego_agents"]) -> None:
        """Drive one simulator step: agents of the teacher by its actions, the others by the jerk actions (0..11) of the
        ego agents."""
        self._advance(None, self._flat_actions(action), 1)

    def act_for_reward(self, action: Int[Tensor, " ego_agents"]) -> Reward:
        """`act`, and the reward of that step for the agents that acted, as the teacher was trained with it."""
        rows = self._ego_agents
        rewards = self._advance(None, self._flat_actions(action), 1, rewarded=True)
        assert rewards is not None, "they were asked for"
        return Reward(*(to_torch(part)[0].flatten()[rows].to(self.device) for part in rewards))

    def _flat_actions(self, action: Int[Tensor, " ego_agents"]) -> Int[Tensor, " agents"]:
        flat = torch.zeros(self._num_flat, dtype=torch.int32, device=self._ego_agents.device)
        flat[self._ego_agents] = self._checked(action).to(flat.device, torch.int32)
        return flat

    @property
    def acting(self) -> Bool[Tensor, " ego_agents"]:
        """With `drive_with: mixed` the ego agents that act by the student's jerks: they neither follow a trajectory nor
        are driven by the teacher. On the CPU."""
        students = ~(self.followers | np.asarray(self.teacher_mask))
        return torch.from_numpy(students.reshape(-1)[self.ego_agents.numpy()])

    def start_plan(self, trajectory: Trajectory) -> StartedPlan:
        """Trajectories of the ego agents that are to be followed from now on, see `act_beside`. Raises ValueError as
        `follow` does."""
        shape = (self.config.num_worlds, self.config.num_agents, NUM_POSES, 3)
        return start_plan(self.state, to_jax(self._flat_plan(trajectory)).reshape(shape))

    def act_beside(self, plan: StartedPlan, action: Int[Tensor, " acting"]) -> None:
        """Drive one simulator step: agents of the teacher by its actions, `followers` along their plan, and the ego
        agents that are `acting` by their jerk actions (0..11)."""
        agents = self.ego_agents[self.acting].to(self._ego_agents.device)
        flat = torch.zeros(self._num_flat, dtype=torch.int32, device=agents.device)
        flat[agents] = action.to(flat.device, torch.int32)
        self.state, taken = drive_mixed_step(
            self._next_key(), self.state, self.teacher_mask, jnp.asarray(self.followers), plan,
            to_jax(flat).reshape(self.followers.shape), self.teacher, self.atlas, self._rules,
            teacher_drives=self._teacher_drives, greedy=self.config.teacher_greedy,
        )  # fmt: skip
        self.agent_steps += int(taken)
        self._refresh()

    def metrics(self) -> dict[str, float | None]:
        """The flat closed-loop metrics of the episodes so far; with `drive_with: mixed` some of them also for the
        agents of each head alone (`metrics_by_head`)."""
        logged_m = None
        if self._starts is not None:  # the only goal of a logged agent is the end of its log
            logged_m = jnp.where(self._replays[:, None], self.state.scenario.goal_m[..., 0], 0.0)
        found = summarise(self.state, self.agent_steps, 0.0, logged_m).to_json()
        if self.config.drive_with != "mixed":
            return found
        return found | metrics_by_head(self.state, self.followers)

    def state_dict(self) -> dict[str, Any]:
        """Everything that later steps depend on, as tensors and numbers."""
        leaves = [torch.from_numpy(np.array(leaf)) for leaf in jax.tree.leaves(self.state)]
        key = torch.from_numpy(np.array(jax.random.key_data(self._key)).view(np.int32))
        state = {
            "leaves": leaves,
            "key": key,
            "agent_steps": self.agent_steps,
            "rigs": self._rigs.state_dict(),
        }
        if self.config.drive_with == "mixed":
            state["followers"] = torch.from_numpy(self.followers.copy())
        if self._one_student is not None:
            state["one_student"] = self._one_student.state_dict()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken. Raises ValueError for worlds of another shape."""
        here, treedef = jax.tree.flatten(self.state)
        stored = state_dict["leaves"]
        if [tuple(leaf.shape) for leaf in stored] != [leaf.shape for leaf in here]:
            raise ValueError(
                "the checkpoint holds worlds of another size than the config asks for; resume with the same "
                "num_worlds, num_agents and num_goals"
            )
        self._rigs.load_state_dict(state_dict.get("rigs", {}))  # older checkpoints have no noise
        if self.config.drive_with == "mixed":
            self.followers = state_dict["followers"].numpy().copy()
        if ("one_student" in state_dict) is (self._one_student is None):
            there = "one" if "one_student" in state_dict else "all"
            raise ValueError(
                f"world.students={self.config.students!r}, but the checkpoint was made with {there!r}; resume with the "
                "same"
            )
        if self._one_student is not None:
            self._one_student.load_state_dict(state_dict["one_student"])
        self.state = _committed(jax.tree.unflatten(treedef, [jnp.array(leaf.numpy()) for leaf in stored]))
        self._key = jax.random.wrap_key_data(jnp.asarray(state_dict["key"].numpy().view(np.uint32)))
        self.agent_steps = state_dict["agent_steps"]
        self._refresh()

    def _label_of(self, forked: TeacherLabel) -> Label:
        """The ego agents' rows of a label of all agents."""
        arrays = (forked.trajectory, forked.valid, forked.action, forked.pose_valid)
        poses, valid, action, pose_valid = self._ego_rows([to_torch(part).flatten(0, 1) for part in arrays])
        if self.config.incomplete_labels == "drop":
            return Label(Trajectory(poses), valid, action.long())
        return Label(Trajectory(poses), pose_valid[:, 0], action.long(), pose_valid)

    def _flat_plan(self, trajectory: Trajectory) -> Float[Tensor, "agents poses 3"]:
        """Poses of all agents of all worlds, 0 for those that are no ego agents."""
        trajectory.validate()
        plan = torch.zeros(self._num_flat, NUM_POSES, 3, device=self._ego_agents.device)
        plan[self._ego_agents] = self._checked(trajectory.poses).to(plan.device)
        return plan

    def _advance(
        self, plan: Tensor | None, action: Tensor | None, num_steps: int, rewarded: bool = False
    ) -> tuple[Array, Array] | None:
        """Drives `num_steps` steps; returns reward and end of every agent at each step, [steps, worlds, agents], where
        `rewarded`."""
        shape = (self.config.num_worlds, self.config.num_agents)
        inputs = [
            None if part is None else to_jax(part).reshape(*shape, *part.shape[1:]) for part in (plan, action)
        ]
        self.state, taken, rewards = _drive(
            self._next_key(), self.state, self.teacher_mask, *inputs, self.teacher, self.atlas, self._rules,
            num_steps=num_steps, teacher_drives=self._teacher_drives, greedy=self.config.teacher_greedy,
            rewarded=rewarded,
        )  # fmt: skip
        self._refresh()
        self.agent_steps += int(taken)  # last, so that the host waits for a GPU only once
        return rewards

    @property
    def _teacher_drives(self) -> bool:
        """Whether the teacher may drive somebody."""
        return self._beta > 0 or self._one_student is not None

    def _refresh(self) -> None:
        """Update the render inputs and the ego agents; an agent is no ego agent once its log has ended."""
        self._render_inputs, drives = _render_inputs(self.state, self.lights.stops, self.atlas, self._rules)
        students = to_torch(drives)
        if self._one_student is not None:
            students = self._one_student.mask(students.cpu()).to(students.device)
        self._ego_agents = students.flatten().nonzero()[:, 0]  # on the worlds' device
        self.ego_agents = self._ego_agents.cpu()

    def _next_key(self) -> Array:
        self._key, key = jax.random.split(self._key)
        return key

    def _ego_rows(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """The ego agents' rows of tensors [worlds * agents, ...] from the worlds' device, on the student's."""
        return [part[self._ego_agents].to(self.device) for part in parts]

    @property
    def _replays(self) -> Bool[Array, " worlds"]:
        """Worlds that replay a log now."""
        if self._starts is None:
            return jnp.zeros(self.config.num_worlds, bool)
        return self._starts.row[self.state.map_id] >= 0

    @property
    def _num_flat(self) -> int:
        return self.config.num_worlds * self.config.num_agents

    def _checked(self, values: Tensor) -> Tensor:
        if len(values) != len(self.ego_agents):
            raise ValueError(f"{len(values)} plans were given for {len(self.ego_agents)} driving agents")
        return values


@partial(jax.jit, static_argnames="rules")
def _reset_world(
    key: Array,
    atlas: RoadAtlas,
    maps: Int[Array, " 2"],
    careful_share: Array | float,
    rules: SimulatorConfig,
    starts: LogInitialStates | None,
) -> WorldState:
    """A new episode on a random map of maps[0] <= map < maps[1]; with probability `careful_share` all its agents have
    the default conditioning."""
    world_key, share_key, map_key = jax.random.split(key, 3)
    map_id = jax.random.randint(map_key, (), maps[0], maps[1])
    world = reset_mixed(world_key, atlas, map_id, rules, starts)
    default = jax.random.bernoulli(share_key, careful_share)
    traits = jnp.where(default, default_traits(), world.scenario.traits)
    return replace(world, scenario=replace(world.scenario, traits=traits))


@jax.jit
def _replace_world(worlds: WorldState, world: WorldState, index: Array) -> WorldState:
    """`worlds` with the one at `index` replaced by `world`."""
    return jax.tree.map(lambda all_leaves, leaf: all_leaves.at[index].set(leaf), worlds, world)


def _committed(tree: Any) -> Any:
    """The same arrays, committed to their device: arrays from DLPack are, and other inputs would compile again."""
    return jax.device_put(tree, jax.devices()[0])


@partial(jax.jit, static_argnames="rules")
def _render_inputs(
    state: WorldState, stops: Int[Array, "maps lights"], atlas: RoadAtlas, rules: SimulatorConfig
) -> tuple[RenderInputs, Bool[Array, "worlds agents"]]:
    """Inputs of the renderer, and the mask of agents that drive."""
    return render_inputs(state, stops, atlas, rules), state.active & ~has_ended(state)[:, None]


@partial(jax.jit, static_argnames=("rules", "num_steps", "teacher_drives", "greedy", "rewarded"))
def _drive(
    key: Array,
    state: WorldState,
    by_teacher: Bool[Array, "worlds agents"],
    plan: Float[Array, "worlds agents poses 3"] | None,
    action: Int[Array, "worlds agents"] | None,
    teacher: Policy,
    atlas: RoadAtlas,
    rules: SimulatorConfig,
    num_steps: int,
    teacher_drives: bool,
    greedy: bool,
    rewarded: bool = False,
) -> tuple[WorldState, Int[Array, ""], tuple[Array, Array] | None]:
    """Drives all worlds for `num_steps` steps; returns the last state, the agent-steps taken and, if `rewarded`, the
    teacher's reward of every agent and whether it crashed, left the road or arrived, [steps, worlds, agents].

    Agents act by the teacher where `by_teacher`; the others follow their plan (rear-axle poses seen from where they
    are now, `simulator.dynamics.trajectory_actions`) or, without plans, take their jerk action. `teacher_drives` says
    at compile time whether the teacher is evaluated at all. Worlds whose log has ended do not change.
    """
    start = rear_poses(state)

    def policy_fn(worlds: WorldState, inputs: tuple[Array, Array]) -> Any:
        key, index = inputs
        followed = None
        if plan is not None:
            age_s = jnp.broadcast_to(index.astype(jnp.float32) * rules.timestep_s, by_teacher.shape)
            followed = TrajectoryAction(plan, start, age_s)
        if not teacher_drives:
            return action if followed is None else followed
        observation = observe_worlds(worlds, atlas, rules, teacher.observation)
        jerks = teacher.act(observation, key, greedy)
        if followed is None:
            return jerks if action is None else jnp.where(by_teacher, jerks, action)
        return MixedAction(jnp.where(by_teacher, 0, 1), (jerks, followed))

    def record(step: Step) -> tuple[Int[Array, ""], tuple[Array, Array] | None]:
        acts = step.state.active
        if step.state.scenario.log is not None:
            acts = acts & ~has_ended(step.state)[:, None]
        if not rewarded:
            return acts.sum(), None
        value_of = partial(reward, simulator=rules, config=teacher.reward)
        total, _ = jax.vmap(value_of)(step.state, step.outcome, step.next_state)
        ended = step.outcome.collision | step.outcome.offroad | step.outcome.arrived
        return acts.sum(), (total, ended)

    model: StepModel = JERK_ACTIONS
    if plan is not None:
        model = JERKS_OR_TRAJECTORIES if teacher_drives else TRAJECTORY_ACTIONS
    step_fn = step_fn_of(atlas, rules, model, stop=None if state.scenario.log is None else has_ended)
    inputs = (jax.random.split(key, num_steps), jnp.arange(num_steps))
    state, (acts, rewards) = rollout(policy_fn, step_fn, state, inputs, record)
    return state, acts.sum(), rewards
