"""Configurations: any change of a good YAML file gives settings of the right types, or a sentence."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from beartype import BeartypeConf
from beartype.door import is_bearable
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from adaptation.__main__ import AdaptationCLI
from adaptation.data import AdaptationData
from adaptation.module import AdaptationModule
from gigapixel.run_folder.config.command_line import parse_config_arguments
from renderer.camera import CameraRig
from student.__main__ import StudentCLI
from student.dagger.data import OnPolicyData
from student.module import StudentModule
from teacher.config import DataclassInstance, load_config
from tests.fuzz import tree_changes
from tests.fuzz.byte_damage import ByteDamage, byte_damage
from tests.fuzz.judge import Judge

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
VALUES = (*tree_changes.ODD_VALUES, "1e-3", "yes", "Town01", "../x", [1.0, -1.0], {"kind": "x"}, "2020-13-45")


def _contents(room: str) -> list[Any]:
    return [yaml.safe_load(path.read_text()) for path in sorted((CONFIGS / room).glob("*.yaml"))]


def _write(
    path: Path, content: Any, changes: Sequence[tree_changes.TreeChange], damage: ByteDamage | None
) -> None:
    if damage is None:
        content = tree_changes.changed(content, changes)
    text = yaml.safe_dump(content, sort_keys=False).encode()
    path.write_bytes(text if damage is None else damage.applied(text))


def _assert_types(config: DataclassInstance) -> None:
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            _assert_types(value)
        else:
            tower = BeartypeConf(is_pep484_tower=True)
            assert is_bearable(value, hints[field.name], conf=tower), (
                f"{field.name}={value!r}: {hints[field.name]}"
            )


Mutation = st.tuples(tree_changes.tree_changes(VALUES), st.none() | st.none() | byte_damage())


@given(content=st.sampled_from(_contents("teacher")), mutation=Mutation)
def test_teacher(
    content: Any,
    mutation: tuple[list[tree_changes.TreeChange], ByteDamage | None],
    judge: Judge,
    tmp_path: Path,
) -> None:
    path = tmp_path / "config.yaml"
    _write(path, content, *mutation)
    judge(lambda: _assert_types(load_config(path)), path)


class _FoundError(Exception):
    """Carries a parser out of a command."""


def _parser_of(command: type[LightningCLI], model: type, data: type) -> LightningArgumentParser:
    """The parser of a command of Lightning's, which makes it before it reads its arguments."""

    class Parsing(command):  # type: ignore[misc, valid-type]
        def parse_arguments(self, parser: LightningArgumentParser, args: object) -> None:
            raise _FoundError(parser)

    with pytest.raises(_FoundError) as found:
        Parsing(model, data, args=["fit"], auto_configure_optimizers=False, seed_everything_default=0,
                parser_kwargs={"exit_on_error": False})  # fmt: skip
    return found.value.args[0]


@pytest.fixture(scope="module", params=["student", "adaptation"])
def lightning_room(request: pytest.FixtureRequest) -> tuple[str, LightningArgumentParser]:
    commands: dict[str, Callable[[], LightningArgumentParser]] = {
        "student": lambda: _parser_of(StudentCLI, StudentModule, OnPolicyData),
        "adaptation": lambda: _parser_of(AdaptationCLI, AdaptationModule, AdaptationData),
    }
    return request.param, commands[request.param]()


@given(number=st.integers(0, 10), mutation=Mutation)
def test_student_and_adaptation(
    number: int, mutation: tuple[list[tree_changes.TreeChange], ByteDamage | None],
    lightning_room: tuple[str, LightningArgumentParser], judge: Judge, tmp_path: Path,
) -> None:  # fmt: skip
    room, parser = lightning_room
    contents = _contents(room)
    path = tmp_path / "config.yaml"
    _write(path, contents[number % len(contents)], *mutation)
    judge(lambda: parse_config_arguments(parser, ["fit", "--config", str(path)]), path)


@given(content=st.sampled_from(_contents("cameras")), mutation=Mutation)
def test_camera_rigs(
    content: Any,
    mutation: tuple[list[tree_changes.TreeChange], ByteDamage | None],
    judge: Judge,
    tmp_path: Path,
) -> None:
    path = tmp_path / "rig.yaml"
    _write(path, content, *mutation)
    judge(lambda: CameraRig.from_yaml(path), path)
