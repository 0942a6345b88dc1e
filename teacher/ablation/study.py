"""Ablation studies as described by YAML files: configs/teacher/ablation/*.yaml.

| field     | meaning                                                                                          |
|-----------|--------------------------------------------------------------------------------------------------|
| question  | the question that the study answers; title of its plot                                          |
| base      | a teacher configuration, as a path relative to the study's folder                                |
| arms      | by name, the changes to the base: nested as in a teacher configuration, `{}` for none            |
| minutes   | time for updates of each run; compilation, evaluation and pre-training are not included          |
| seeds     | each arm is trained once with each seed                                                          |
| evaluate  | evaluation of the finished policies: fields of `EvaluationConfig`                                |

`PACKS` in place of a list of packs stands for the packs of the command line, so that studies hold no local paths.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gigapixel.run_folder.config.study_file import RUNS, Arm, read_study
from teacher.config import TeacherConfig, from_dict
from teacher.evaluation.config import EvaluationConfig

PACKS = "PACKS"


@dataclass(frozen=True)
class Study:
    """A study whose runs all have valid configurations; made by `load_study`."""

    question: str
    arms: tuple[Arm, ...]
    minutes: float
    seeds: tuple[int, ...]
    evaluation: EvaluationConfig
    source: str  # path of its file, for error messages

    def config(self, arm: Arm, seed: int, output: Path) -> TeacherConfig:
        """The configuration of one run. Raises ValueError naming the study's file and the field."""
        values = arm.values | {
            "name": f"{arm.stem}_{seed}",
            "output": str(output / RUNS),
            "seed": seed,
        }
        return from_dict(TeacherConfig, values, f"{self.source}, arm {arm.name!r}")


def load_study(path: Path, packs: tuple[str, ...] = ()) -> Study:
    """The study in a YAML file. Raises ValueError naming file and field for bad content."""
    file = read_study(path, ("minutes", "evaluate"))
    minutes = file.rest.get("minutes", 5.0)
    if isinstance(minutes, bool) or not isinstance(minutes, (int, float)) or not minutes > 0:
        raise ValueError(f"{path}: minutes={minutes!r} must be a number above 0")
    judged = _with_packs(file.rest.get("evaluate", {}), packs, path)
    study = Study(
        question=file.question,
        arms=tuple(Arm(arm.name, _with_packs(arm.values, packs, path)) for arm in file.arms),
        minutes=float(minutes),
        seeds=file.seeds,
        evaluation=from_dict(EvaluationConfig, judged, f"{path}, evaluate"),
        source=str(path),
    )
    for arm in study.arms:
        for seed in study.seeds:
            study.config(arm, seed, Path())
    return study


def _with_packs(value: object, packs: tuple[str, ...], path: Path) -> Any:
    """``value`` with PACKS replaced by the packs of the command line."""
    if isinstance(value, dict):
        return {key: _with_packs(entry, packs, path) for key, entry in value.items()}
    if value != PACKS:
        return value
    if not packs:
        raise ValueError(f"{path} uses recorded scenes; name packs: --packs a.h5,b.h5")
    return list(packs)
