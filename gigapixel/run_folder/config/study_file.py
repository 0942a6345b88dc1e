"""Studies: YAML files that name arms, each a base configuration with some settings changed, and seeds to run them with.

    question: what the study asks
    base: base.yaml        # relative to the study's file
    arms:
      as it is: {}
      wider: {network: {trunk_widths: [256]}}
      another: {base: other.yaml, seed_everything: 1}
    seeds: [0, 1, 2]

Further fields are the room's own, see `teacher/ablation/study.py` and `student/compare/study.py`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gigapixel.run_folder.atomic import write_text
from gigapixel.run_folder.config.finite import refuse_not_finite
from gigapixel.run_folder.config.yaml_file import read_mapping

RUNS = "runs"
"""Folder of the training runs, inside a study's output folder."""
STUDY = "study.yaml"


@dataclass(frozen=True)
class Arm:
    """One side of a comparison: its name and its configuration without name, output and seed."""

    name: str
    values: dict[str, Any]

    @property
    def stem(self) -> str:
        """The name as part of a folder name."""
        return "".join(letter if letter.isalnum() else "_" for letter in self.name)


@dataclass(frozen=True)
class StudyFile:
    """What all studies have, and the other fields of the file."""

    path: Path
    question: str
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    rest: dict[str, Any]


def read_study(path: Path, fields: Sequence[str]) -> StudyFile:
    """The study in a YAML file; ``fields`` are the names that it may have besides those above.

    Raises ValueError naming file and field for bad content, and OSError for files that cannot be read.
    """
    values = read_mapping(path)
    refuse_not_finite(values, str(path))
    known = ("question", "base", "arms", "seeds", *fields)
    for key in values:
        if key not in known:
            raise ValueError(f"{path}: unknown key {key!r}; known keys: {', '.join(known)}")
    for key in ("question", "base", "arms"):
        if key not in values:
            raise ValueError(f"{path}: {key} is missing")
    seeds, arms = values.get("seeds", [0, 1, 2]), values["arms"]
    if not isinstance(seeds, list) or not seeds or not all(map(_is_seed, seeds)) or _doubled(seeds):
        raise ValueError(
            f"{path}: seeds={seeds!r} must be a list of different whole numbers, such as [0, 1, 2]"
        )
    if not isinstance(arms, dict) or len(arms) < 2:
        raise ValueError(
            f"{path}: arms={arms!r} must name at least two, such as {{with: {{}}, without: ...}}"
        )
    base = str(values["base"])
    made = tuple(_arm(path, base, str(name), changes) for name, changes in arms.items())
    if _doubled([arm.stem for arm in made]):
        raise ValueError(f"{path}: two arms have names that differ in punctuation only")
    rest = {key: value for key, value in values.items() if key in fields}
    return StudyFile(path, str(values["question"]), made, tuple(seeds), rest)


def _arm(path: Path, base: str, name: str, changes: Any) -> Arm:
    changes = {} if changes is None else changes
    if not isinstance(changes, dict):
        raise ValueError(f"{path}, arm {name!r}: {changes!r} must be names with values, or {{}} for the base")
    changes = dict(changes)
    return Arm(name, merged(read_mapping(path.parent / str(changes.pop("base", base))), changes))


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


def parse_seeds(text: str) -> tuple[int, ...]:
    """The value of `--seeds`. Raises ValueError for anything but different whole numbers, separated by commas."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() for part in parts) or _doubled(parts):
        raise ValueError(f"--seeds {text!r} must be different whole numbers, such as 0,1,2")
    return tuple(int(part) for part in parts)


def claim_study_folder(output: Path, described: dict[str, Any], what: str) -> None:
    """Writes what a study compares into its output folder. Raises ValueError for a folder with runs of another study or
    another ``what``, whose results would be mixed with this one's."""
    path, text = output / STUDY, yaml.safe_dump(described, sort_keys=False)
    if path.is_file() and path.read_text() != text:
        raise ValueError(f"{path} is of another study or other {what}; choose another --output")
    write_text(path, text)


def _is_seed(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _doubled(values: Sequence[object]) -> bool:
    return len(set(values)) < len(values)
