"""Trains every run of a comparison, one after the other, each in a run folder of `gigapixel student fit`.

A finished run has its policy and its points, and is not repeated; one that was interrupted continues at its last
checkpoint.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import lightning
import yaml

from gigapixel.run_folder.atomic import write_text
from student.compare.budget import POINTS, ExperienceBudget, Progress
from student.compare.study import ComparedArm, Study
from student.module import StudentModule
from student.run.command_line import holds_checkpoint
from student.run.logger import METADATA

POLICY = "policy.pt"


@runtime_checkable
class RunCli(Protocol):
    """`student.__main__.run_cli`: one command of `gigapixel student`."""

    def __call__(
        self,
        arguments: Sequence[str],
        module: type[StudentModule],
        data: type[lightning.LightningDataModule],
        callbacks: Sequence[lightning.Callback],
    ) -> object:
        """Parse and run it with this module, this data and these callbacks."""
        ...


@dataclass(frozen=True)
class Outcome:
    """One finished run: what its evaluations found, in order, see `ExperienceBudget`."""

    arm: str
    seed: int
    points: list[dict[str, Any]]


OnStart = Callable[[ComparedArm, int], Progress]
"""Called with arm and seed before a run is trained or continued."""


def run_study(
    study: Study,
    arms: Sequence[ComparedArm],
    seeds: Sequence[int],
    output: Path,
    run_cli: RunCli,
    begin: OnStart,
) -> None:
    """Train the runs that are not finished. The runs of one seed come together, so that all arms can be compared
    early."""
    for seed in seeds:
        for arm in arms:
            if not is_finished(study.folder(arm, seed, output)):
                train(study, arm, seed, output, run_cli, begin(arm, seed))
                gc.collect()  # the worlds and the buffer of a run are gigabytes in cycles of references


def is_finished(folder: Path) -> bool:
    """Whether a run folder holds all results."""
    return (folder / POLICY).is_file() and (folder / POINTS).is_file()


def train(
    study: Study, arm: ComparedArm, seed: int, output: Path, run_cli: RunCli, progress: Progress
) -> None:
    """Train one run from its newest checkpoint, or from the beginning where there is none."""
    folder = study.folder(arm, seed, output)
    config = output / "configs" / f"{folder.name}.yaml"
    write_text(config, yaml.safe_dump(study.settings(arm, seed), sort_keys=False))
    arguments = ["fit", "--config", str(config), "--run", str(folder)]
    if holds_checkpoint(folder):
        arguments.append("--resume")
    module, data = _classes(arm)
    budget = ExperienceBudget(study.agent_steps, study.evaluate_at, folder, progress)
    run_cli(arguments, module, data, [budget])


def _classes(arm: ComparedArm) -> tuple[type[StudentModule], type[lightning.LightningDataModule]]:
    """Module and data of an arm's learner; importing them loads JAX."""
    if arm.learner == "ppo":
        from student.pixel_ppo.data import RolloutData
        from student.pixel_ppo.module import PixelPPO

        return PixelPPO, RolloutData
    from student.dagger.data import OnPolicyData

    return StudentModule, OnPolicyData


def outcomes(study: Study, output: Path) -> list[Outcome]:
    """All finished runs of the study, of whatever seeds. Raises ValueError for one that cannot be read."""
    found = []
    for arm in study.arms:
        prefix = study.folder(arm, 0, output).name.removesuffix("0")
        folders = sorted(study.folder(arm, 0, output).parent.glob(f"{prefix}*"))
        for folder in folders:
            seed = folder.name.removeprefix(prefix)
            if seed.isdigit() and is_finished(folder):
                found.append(Outcome(arm.name, int(seed), _read(folder / POINTS)))
    return found


def devices_of(study: Study, found: Sequence[Outcome], output: Path) -> list[str]:
    """The devices that the runs name in their metadata.json."""
    arms = {arm.name: arm for arm in study.arms}
    files = [study.folder(arms[one.arm], one.seed, output) / METADATA for one in found]
    return sorted({json.loads(file.read_text())["device"] for file in files if file.is_file()})


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        points = json.loads(path.read_text())["points"]
        for point in points:
            float(point["driving_score"])
            int(point["agent_steps"])
            int(point["labels"])
        return points
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not the result of a run ({error}); delete its folder to make the run again"
        ) from error
