"""Scene packs: one HDF5 file of many logged scenes, each a `RoadMap` and a `TrafficLog`.

Scenes are written one by one into a file that appears atomically when the last one is written, and are read one by one.
Every array has a checksum, so that a damaged file is rejected.

    /                    format, schema_version, road_map_schema_version, num_scenes, conventions
    /scenes/00000        name
    /scenes/00000/road_map/<field>    datasets, or attributes where a field is text or one number
    /scenes/00000/log/<field>
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import TracebackType

import numpy as np

from gigapixel.run_folder.hdf5_file import READ_FAULTS, attribute_is, open_hdf5, read_fault, stream_hdf5
from simulator import conventions
from simulator.logs.traffic_log import TrafficLog
from simulator.roads import road_map
from simulator.roads.array_file import (
    file_attributes,
    fixed_text,
    plain_text,
    read_record,
    unicode_text,
    write_record,
)
from simulator.roads.road_map import RoadMap

SCENE_PACK_FORMAT = "gigapixel traffic scenes"
SCENE_PACK_VERSION = 1
STAMP = "conventions"
"""Attribute with the stamp of `simulator.conventions.SCENE_PACK_CONVENTIONS` as JSON; packs of earlier versions have
none and are accepted."""
_EXPECTED = f"expected intact {SCENE_PACK_FORMAT}, import them again"
LIBRARY = ("v110", "v110")
"""File layout of HDF5 1.10, the first with checksums on the internal structures too."""


@dataclass(frozen=True)
class LoggedScene:
    """A logged scene: map and traffic in one frame."""

    road_map: RoadMap
    log: TrafficLog
    remarks: dict[str, int] = field(
        default_factory=dict
    )  # of the import, counts by name; not stored in packs

    def validate(self) -> LoggedScene:
        """This scene. Raises ValueError unless both parts are valid and have the same number of stop lines."""
        self.road_map.validate()
        self.log.validate()
        stops = len(self.road_map.stop_line_yaw)
        if len(self.log.light_state) != stops:
            raise ValueError(
                f"{self.log.source_file}: scene {self.log.name}: light_state has {len(self.log.light_state)} rows; "
                f"expected {stops}, one per stop line of its road map"
            )
        return self


class ScenePackWriter:
    """Writes scenes one by one into an atomic file: it appears when the `with` block is left without an error."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.names: list[str] = []

    def __enter__(self) -> ScenePackWriter:
        with contextlib.ExitStack() as stack:
            self._file, self._raise_fault = stack.enter_context(stream_hdf5(self.path, LIBRARY))
            self._file.create_group("scenes")
            stack.push(self._write_header)
            self._stack = stack.pop_all()
        return self

    def add(self, scene: LoggedScene) -> None:
        """Append one scene. Raises ValueError where `check` refuses it, and OSError where it cannot be written."""
        self.check(scene)
        self.append(scene)

    def check(self, scene: LoggedScene) -> None:
        """Raises ValueError for an invalid scene, for one whose name the pack already has, and for text that no file
        can hold."""
        scene.validate()
        _check_text(scene)
        if scene.log.name in self.names:
            raise ValueError(
                f"{scene.log.source_file}: scene {scene.log.name} is in {self.path} already; expected names to "
                "differ"
            )

    def append(self, scene: LoggedScene) -> None:
        """Append one scene that `check` has accepted. Raises OSError where it cannot be written."""
        name = scene.log.name
        group = self._file["scenes"].create_group(f"{len(self.names):05d}")
        group.attrs["name"] = fixed_text(name)
        for part in ("road_map", "log"):
            write_record(group.create_group(part), getattr(scene, part))
        self._raise_fault()
        self.names.append(name)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def _write_header(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Called on leaving the `with` block, before the file is closed and then renamed or removed."""
        if kind is None:
            self._file.attrs["format"] = fixed_text(SCENE_PACK_FORMAT)
            self._file.attrs["schema_version"] = SCENE_PACK_VERSION
            self._file.attrs["road_map_schema_version"] = road_map.SCHEMA_VERSION
            self._file.attrs["num_scenes"] = len(self.names)
            self._file.attrs[STAMP] = fixed_text(
                json.dumps(conventions.stamp(conventions.SCENE_PACK_CONVENTIONS))
            )


def _check_text(scene: LoggedScene) -> None:
    """Raises ValueError for text that is not Unicode, as JSON may contain it."""
    for part in (scene.road_map, scene.log):
        for entry in fields(part):
            value = getattr(part, entry.name)
            texts = value.tolist() if isinstance(value, np.ndarray) and value.dtype.kind == "U" else [value]
            for text in texts:
                if isinstance(text, str) and not _is_unicode(text):
                    raise ValueError(
                        f"{scene.log.source_file!a}: {entry.name} holds {text!a}; expected Unicode text"
                    )


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


class ScenePack:
    """Reads scenes by number or name, one at a time; use it in a `with` block."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Raises OSError for a file that is missing, in use or not readable, and ValueError for one that is damaged, of
        another format or version, or written under other conventions."""
        self.path = Path(path)
        self._file = open_hdf5(self.path, _EXPECTED)
        try:
            self.names = self._read_names()
        except BaseException:
            self.close()
            raise

    def _read_names(self) -> list[str]:
        try:
            attributes = {str(name): plain_text(value) for name, value in self._file.attrs.items()}
        except READ_FAULTS as error:
            raise read_fault(self.path, error, _EXPECTED) from error
        if not attribute_is(attributes.get("format"), SCENE_PACK_FORMAT):
            raise ValueError(
                f"{self.path}: attribute format is {attributes.get('format')!r}; expected {SCENE_PACK_FORMAT!r}"
            )
        for name, expected in (
            ("schema_version", SCENE_PACK_VERSION),
            ("road_map_schema_version", road_map.SCHEMA_VERSION),
        ):
            if not attribute_is(attributes.get(name), expected):
                raise ValueError(
                    f"{self.path}: {name} is {attributes.get(name)}; expected {expected}, import the source again"
                )
        if STAMP in attributes:
            stored = self._parse_stamp(attributes[STAMP])
            conventions.refuse_other(
                stored, conventions.SCENE_PACK_CONVENTIONS, str(self.path), "import the source again"
            )
        try:
            scenes = self._file["scenes"]
            names = [unicode_text(scenes[key].attrs["name"]) for key in sorted(scenes)]
        except READ_FAULTS as error:
            raise read_fault(self.path, error, _EXPECTED) from error
        if not attribute_is(attributes.get("num_scenes"), len(names)):
            raise self._damaged(f"{len(names)} scenes where {attributes.get('num_scenes')} were written")
        return names

    def _parse_stamp(self, text: object) -> dict[str, object]:
        try:
            stored = json.loads(str(text))
        except ValueError as error:
            raise self._damaged(f"attribute {STAMP} is not JSON: {error}") from error
        if not isinstance(stored, dict):
            raise self._damaged(f"attribute {STAMP} is not a JSON object")
        return stored

    def __enter__(self) -> ScenePack:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[LoggedScene]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, which: int | str) -> LoggedScene:
        """One scene by number or name. Raises ValueError for unknown names, IndexError for numbers out of range."""
        number = self._number(which)
        try:
            group = self._file["scenes"][f"{number:05d}"]
            scene = LoggedScene(
                RoadMap(**read_record(group["road_map"], RoadMap)),
                TrafficLog(**read_record(group["log"], TrafficLog)),
            )
        except READ_FAULTS as error:
            raise read_fault(self.path, error, _EXPECTED) from error
        try:
            return scene.validate()
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from error

    def _number(self, which: int | str) -> int:
        if isinstance(which, str):
            if which not in self.names:
                some = ", ".join(self.names[:5]) + (", ..." if len(self.names) > 5 else "")
                raise ValueError(f"{self.path}: no scene {which!r}; expected one of {some}")
            return self.names.index(which)
        if not -len(self) <= which < len(self):
            raise IndexError(f"{self.path}: scene {which} of {len(self)}")
        return which % len(self)

    def _damaged(self, reason: str) -> ValueError:
        return ValueError(f"{self.path}: truncated or damaged file ({reason}); {_EXPECTED}")


def holds_logged_scenes(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a pack of logged scenes (and not the map of one town); False for unreadable ones."""
    return file_attributes(path).get("format") == SCENE_PACK_FORMAT
