"""One plan of the student carried out in a `PixelWorld`, and closed-loop evaluation by repeating it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from student.batch import Label
from student.dagger.judging import choice_scores
from student.losses import plan_errors
from student.network.policy import Plan, StudentPolicy
from student.observation import Observation

if TYPE_CHECKING:  # the world loads JAX; a policy and its errors do not need it
    from student.world.pixel_world import PixelWorld


@dataclass(frozen=True)
class ClosedLoopConfig:
    """A closed-loop evaluation."""

    maps: tuple[str, ...] = ("Town10HD",)  # assigned to the worlds in turn
    num_worlds: int = 8
    seconds: float = 30.0
    seed: int = 1000
    label_every: int = 8  # every so many decisions the plans are compared with the teacher's; 0: never
    judged_agents: int = 64  # at most so many have their proposals judged then, if there is a scorer

    def __post_init__(self) -> None:
        if not self.maps:
            raise ValueError("evaluation.maps is empty; name at least one town")
        if self.num_worlds < 1 or self.seconds <= 0 or self.label_every < 0 or self.judged_agents < 0:
            raise ValueError(
                f"evaluation: num_worlds={self.num_worlds} must be at least 1, seconds={self.seconds} above 0 "
                f"and label_every={self.label_every} and judged_agents={self.judged_agents} not negative"
            )


def plan_for(policy: StudentPolicy, observation: Observation) -> Plan:
    """The policy's plan, computed on the policy's device without gradients, given on the observation's."""
    device = next(policy.parameters()).device
    with torch.no_grad():
        return policy(observation.to(device))


def drive_until_next_plan(
    world: PixelWorld,
    policy: StudentPolicy | None,
    observation: Observation | None,
    plan: Plan | None = None,
) -> Plan | None:
    """Advance the worlds to the time of the next plan; the teacher drives the agents assigned to it.

    With `drive_with: trajectory` the trajectory planned from `observation` is tracked. With `actions` the student is
    given a new observation and its most likely action is applied at every simulator step. With `mixed` some agents do
    the one, some the other. Without a policy the teacher must drive all agents. `plan` is that of `observation`, where
    it has been made already. Returns the plan made from `observation`, None where the teacher drives all agents.
    """
    if policy is None or observation is None or world.teacher_drives_all:
        world.follow(None)
        return None
    if plan is None:
        plan = plan_for(policy, observation)
    if world.config.drive_with == "trajectory":
        world.follow(plan.trajectory)
        return plan
    if world.config.drive_with == "mixed":
        _follow_and_act(world, policy, plan)
        return plan
    action = plan.actions()
    for step in range(world.steps_per_plan):
        if not len(world.ego_agents):  # all have crashed or arrived since the plan
            break
        if step:
            action = plan_for(policy, world.observe()).actions()
        world.act(action)
    return plan


def _follow_and_act(world: PixelWorld, policy: StudentPolicy, plan: Plan) -> None:
    """Advance to the next plan: followers along `plan`, the others by the actions of the plan and then by those of new
    observations, which only they are given."""
    started = world.start_plan(plan.trajectory)
    action = plan.actions()[world.acting.to(plan.tokens.device)]
    for step in range(world.steps_per_plan):
        if step:
            acting = world.acting
            seen = world.observe(acting) if acting.any() else None
            action = action[:0] if seen is None else plan_for(policy, seen).actions()
        world.act_beside(started, action)


class Episode:
    """A closed-loop evaluation from a fixed seed: the only item of validation and test loaders."""

    def __init__(self, world: PixelWorld, config: ClosedLoopConfig) -> None:
        self.world = world
        self.config = config

    def drive(self, policy: StudentPolicy | None) -> dict[str, float | None]:
        """The flat closed-loop metrics, the mean open-loop errors of the policy and, if it has a scorer, the mean
        `choice_scores` of its proposals; None: the metrics of the teacher alone."""
        started = time.perf_counter()
        world, training = self.world, policy is not None and policy.training
        if policy is not None:
            policy.eval()
        world.reset(self.config.seed)
        world.assign_teacher(0.0 if policy is not None else 1.0)
        errors: list[tuple[float, dict[str, float]]] = []
        scores: list[dict[str, Tensor]] = []
        generator = torch.Generator().manual_seed(self.config.seed)
        for decision in range(round(self.config.seconds / world.config.plan_s)):
            if not len(world.ego_agents):
                break
            observation = world.observe() if policy is not None else None
            labelled = self.config.label_every and not decision % self.config.label_every
            if not labelled or policy is None or observation is None:
                drive_until_next_plan(world, policy, observation)
                continue
            label, plan = world.label(), plan_for(policy, observation)
            if plan.scores is not None and self.config.judged_agents:
                scores.append(choice_scores(world, plan, self.config.judged_agents, generator))
            drive_until_next_plan(world, policy, observation, plan)
            errors.append(_errors(plan, label))
        if policy is not None:
            policy.train(training)
        means = _mean(errors) | _mean_scores(scores)
        return world.metrics() | means | {"wall_s": time.perf_counter() - started}


def _errors(plan: Plan, label: Label) -> tuple[float, dict[str, float]]:
    """Number of valid labels and the mean errors over them."""
    valid = label.valid
    if not valid.any():
        return 0.0, {}
    errors = plan_errors(plan[valid].to(valid.device), label[valid])
    return float(valid.sum()), {name: float(value) for name, value in errors.items()}


def _mean(errors: list[tuple[float, dict[str, float]]]) -> dict[str, float]:
    """Mean of the errors over all labels."""
    total = sum(count for count, _ in errors)
    if not total:
        return {}
    names = next(values for count, values in errors if count)
    return {name: sum(count * values[name] for count, values in errors if count) / total for name in names}


def _mean_scores(scores: list[dict[str, Tensor]]) -> dict[str, float]:
    """Mean of the scores over all judged agents."""
    names = scores[0] if scores else ()
    return {name: float(torch.cat([values[name] for values in scores]).mean()) for name in names}
