"""Comparisons as described by YAML files: configs/student/compare/*.yaml and configs/student/ablation/*.yaml.

| field       | meaning                                                                                        |
|-------------|------------------------------------------------------------------------------------------------|
| question    | the question that the study answers; title of its plot                                        |
| base        | a configuration of `gigapixel student fit`, as a path relative to the study's folder           |
| arms        | by name, the changes to the base; `base` is another one, and `learner` is `dagger` (the        |
|             | default) or `ppo`, whose `model` and `data` are those of `student/pixel_ppo`                   |
| agent_steps | experience of every run, counted over all agents of all worlds                                |
| evaluate_at | shares of it after which `data.validation` is driven; the first is 0 and the last 1            |
| seeds       | each arm is trained once with each seed                                                        |

Length and learning rate of a run follow its agent-steps, see `student/compare/budget.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gigapixel.run_folder.config.nearest import did_you_mean
from gigapixel.run_folder.config.study_file import RUNS, Arm, merged, read_study

LEARNERS = ("dagger", "ppo")
DEFAULT_SHARES = (0.0, 0.03, 0.06, 0.125, 0.25, 0.5, 0.75, 1.0)
MAX_EPOCHS = -1
"""The experience ends a run, and no number of epochs."""


@dataclass(frozen=True)
class ComparedArm:
    """One method or setting."""

    arm: Arm  # values: of `gigapixel student fit`, without run folder and seed
    learner: Literal["dagger", "ppo"]

    @property
    def name(self) -> str:
        """As the tables call it."""
        return self.arm.name


@dataclass(frozen=True)
class Study:
    """A comparison; made by `load_study`."""

    question: str
    arms: tuple[ComparedArm, ...]
    agent_steps: int
    evaluate_at: tuple[float, ...]
    seeds: tuple[int, ...]

    def folder(self, arm: ComparedArm, seed: int, output: Path) -> Path:
        """The run folder of one arm with one seed."""
        return output / RUNS / f"{arm.arm.stem}_{seed}"

    def settings(self, arm: ComparedArm, seed: int) -> dict[str, Any]:
        """What the configuration file of a run holds."""
        ours = {
            "seed_everything": seed,
            "data": {"seed": seed},
            "trainer": {"max_epochs": MAX_EPOCHS, "limit_val_batches": 0, "num_sanity_val_steps": 0},
            "model": {"optimiser": {"decay_steps": self.agent_steps}},
        }
        return merged(arm.arm.values, ours)

    def described(self) -> dict[str, Any]:
        """What must be the same for results to be compared."""
        return {
            "question": self.question,
            "agent_steps": self.agent_steps,
            "evaluate_at": list(self.evaluate_at),
            "arms": {arm.name: {"learner": arm.learner, **arm.arm.values} for arm in self.arms},
        }

    def with_agent_steps(self, agent_steps: int) -> Study:
        """The same study with another budget; `data.beta_steps` of every arm are scaled alike.

        Raises ValueError for a budget below 1.
        """
        if agent_steps < 1:
            raise ValueError(f"--agent_steps {agent_steps} must be at least 1")
        scale = agent_steps / self.agent_steps
        arms = tuple(_with_scaled_beta(arm, scale) for arm in self.arms)
        return dataclasses.replace(self, arms=arms, agent_steps=agent_steps)

    def chosen(self, names: Sequence[str]) -> tuple[ComparedArm, ...]:
        """The arms of these names, all for none. Raises ValueError for an unknown name."""
        known = [arm.name for arm in self.arms]
        for name in names:
            if name not in known:
                raise ValueError(
                    f"--only {name!r} is no arm of the study; known arms: {', '.join(map(repr, known))}"
                    f"{did_you_mean(name, known)}"
                )
        return tuple(arm for arm in self.arms if not names or arm.name in names)


def load_study(path: Path) -> Study:
    """The comparison in a YAML file. Raises ValueError naming file and field for bad content; the settings of the runs
    are checked when they begin."""
    file = read_study(path, ("agent_steps", "evaluate_at"))
    steps, shares = file.rest.get("agent_steps"), file.rest.get("evaluate_at", list(DEFAULT_SHARES))
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"{path}: agent_steps={steps!r} must be a whole number above 0")
    numbers = isinstance(shares, list) and all(isinstance(share, int | float) for share in shares)
    if not numbers or len(shares) < 2 or shares != sorted(set(shares)) or (shares[0], shares[-1]) != (0, 1):
        raise ValueError(
            f"{path}: evaluate_at={shares!r} must be increasing shares of the run from 0 to 1, such as [0, 0.5, 1]"
        )
    arms = tuple(_compared(path, arm) for arm in file.arms)
    return Study(file.question, arms, steps, tuple(map(float, shares)), file.seeds)


def _compared(path: Path, arm: Arm) -> ComparedArm:
    values = dict(arm.values)
    learner = values.pop("learner", "dagger")
    if learner not in LEARNERS:
        raise ValueError(
            f"{path}, arm {arm.name!r}: learner={learner!r} must be one of {', '.join(LEARNERS)}"
        )
    return ComparedArm(Arm(arm.name, values), learner)


def _with_scaled_beta(arm: ComparedArm, scale: float) -> ComparedArm:
    beta_steps = arm.arm.values.get("data", {}).get("beta_steps")
    if not beta_steps:
        return arm
    values = merged(arm.arm.values, {"data": {"beta_steps": round(scale * beta_steps)}})
    return dataclasses.replace(arm, arm=Arm(arm.name, values))
