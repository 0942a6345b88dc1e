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

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gigapixel.run_folder.config.finite import refuse_not_finite
from gigapixel.run_folder.config.yaml_file import read_mapping
from teacher.config import TeacherConfig, from_dict
from teacher.evaluation.config import EvaluationConfig

PACKS = "PACKS"
RUNS = "runs"
"""Folder of the training runs, inside a study's output folder."""


@dataclass(frozen=True)
class Arm:
    """One side of a comparison: its name and a teacher configuration without name, output and seed."""

    name: str
    values: dict[str, Any]

    @property
    def stem(self) -> str:
        """The name as part of a folder name."""
        return "".join(letter if letter.isalnum() else "_" for letter in self.name)


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
    values = read_mapping(path)
    refuse_not_finite(values, str(path))
    known = ("question", "base", "arms", "minutes", "seeds", "evaluate")
    for key in values:
        if key not in known:
            raise ValueError(f"{path}: unknown key {key!r}; known keys: {', '.join(known)}")
    for key in ("question", "base", "arms"):
        if key not in values:
            raise ValueError(f"{path}: {key} is missing")
    minutes, seeds = values.get("minutes", 5.0), values.get("seeds", [0, 1, 2])
    if isinstance(minutes, bool) or not isinstance(minutes, (int, float)) or not minutes > 0:
        raise ValueError(f"{path}: minutes={minutes!r} must be a number above 0")
    if not isinstance(seeds, list) or not seeds or len({repr(seed) for seed in seeds}) < len(seeds):
        raise ValueError(
            f"{path}: seeds={seeds!r} must be a list of different whole numbers, such as [0, 1, 2]"
        )
    arms = values["arms"]
    if not isinstance(arms, dict) or len(arms) < 2:
        raise ValueError(
            f"{path}: arms={arms!r} must name at least two, such as {{with: {{}}, without: ...}}"
        )
    base = read_mapping(path.parent / str(values["base"]))
    judged = _with_packs(values.get("evaluate", {}), packs, path)
    study = Study(
        question=str(values["question"]),
        arms=tuple(
            Arm(str(name), _with_packs(merged(base, changes or {}), packs, path))
            for name, changes in arms.items()
        ),
        minutes=float(minutes),
        seeds=tuple(seeds),
        evaluation=from_dict(EvaluationConfig, judged, f"{path}, evaluate"),
        source=str(path),
    )
    for arm in study.arms:
        for seed in study.seeds:
            study.config(arm, seed, Path())
    if len({arm.stem for arm in study.arms}) < len(study.arms):
        raise ValueError(f"{path}: two arms have names that differ in punctuation only")
    return study


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy of ``base`` with ``changes`` merged into it recursively."""
    result = copy.deepcopy(base)
    for key, value in changes.items():
        inside = result.get(key)
        if isinstance(value, dict) and isinstance(inside, dict):
            result[key] = merged(inside, value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def _with_packs(value: object, packs: tuple[str, ...], path: Path) -> Any:
    """``value`` with PACKS replaced by the packs of the command line."""
    if isinstance(value, dict):
        return {key: _with_packs(entry, packs, path) for key, entry in value.items()}
    if value != PACKS:
        return value
    if not packs:
        raise ValueError(f"{path} uses recorded scenes; name packs: --packs a.h5,b.h5")
    return list(packs)
