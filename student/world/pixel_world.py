"""`PixelWorld`: batched simulator worlds with camera observations, labels of the teacher, and control by plans.

Besides `student/bridge` this folder alone imports the teacher and the simulator's worlds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jaxtyping import Array, Bool, Float, Int
from torch import Tensor

from renderer import CameraRig, Scene
from simulator.config import SimulatorConfig
from simulator.conventions import NUM_POSES
from simulator.metrics.summary import summarise
from simulator.reset.map_set import load_map_set
from simulator.reset.mixed_reset import load_log_initial_states
from simulator.rollout import needs_reset
from simulator.state import WorldState
from student.batch import Label
from student.bridge.dlpack import to_jax, to_torch
from student.bridge.ground import ground_library
from student.bridge.judging import judged_proposals
from student.bridge.labelling import forked_label, forked_label_elsewhere, sight_of
from student.bridge.mixed_driving import (
    StartedPlan,
    draw_followers,
    drive_mixed_step,
    metrics_by_head,
    start_plan,
)
from student.bridge.scene import (
    ego_inputs,
    light_table,
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
from student.sub_scores import JudgedProposals
from student.tensor_batch import TensorBatch
from student.trajectory import Trajectory
from student.world.agent_rigs import AgentRigs
from student.world.config import PixelWorldConfig
from student.world.driving import committed, drive, inputs_and_drivers, replace_world, reset_world
from student.world.one_student import OneStudent
from teacher.evaluation.logs import LOG_ROUTE_STATIONS
from teacher.label import Label as TeacherLabel
from teacher.policy import Policy, load_policy

TOLD_APART_M = 2.0
"""Target points so far apart tell of another route (our choice)."""


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
        self.state: WorldState = committed(jax.tree.map(lambda *leaves: jnp.stack(leaves), *worlds))
        if stagger:
            age = jax.random.randint(age_key, (self.config.num_worlds,), 0, self.simulator.episode_steps)
            age = jnp.where(self._replays, 0, age)  # a log is replayed from its start
            self.state = self.state.replace(step=committed(age))
        self.agent_steps = 0
        self._refresh()
        self.assign_teacher(0.0)

    def reset_finished(self) -> int:
        """New episodes in worlds whose episode or log has ended or where at least 40 % of the agents no longer drive;
        returns how many."""
        finished = np.flatnonzero(np.asarray(needs_reset(self.state, self.simulator)))
        for index in finished:
            self.state = replace_world(self.state, self._new_episode(int(index), in_turn=False), index)
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
        world = reset_world(key, self.atlas, bounds, share, self._rules, self._starts)
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
        self.state = committed(jax.tree.unflatten(treedef, [jnp.array(leaf.numpy()) for leaf in stored]))
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
        self.state, taken, rewards = drive(
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
        self._render_inputs, drives = inputs_and_drivers(
            self.state, self.lights.stops, self.atlas, self._rules
        )
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
