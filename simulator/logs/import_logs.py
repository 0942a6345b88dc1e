"""Import many logged scenes into one pack, in several processes. A refused source is reported and does not end the
import."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from simulator.logs.scene_pack import LoggedScene, ScenePackWriter

DATA_VARIABLE = "GIGAPIXEL_DATA"
Reader = Callable[[Path], LoggedScene | list[LoggedScene]]


@dataclass(frozen=True)
class LogReader:
    """What a module of `simulator.logs.readers` offers as READER.

    Attributes:
        folders: Where logs of this format are, below $GIGAPIXEL_DATA.
        find: All logs at or below a path.
        read: The scenes of one log. Raises OSError or ValueError for a log that cannot be imported.
    """

    folders: tuple[str, ...]
    find: Callable[[Path], list[Path]]
    read: Reader


@dataclass(frozen=True)
class LogFormat:
    """One format in the list of formats; its module is imported only when it is used."""

    module: str  # in `simulator.logs.readers`
    description: str  # for help and error messages


LOG_FORMATS = {
    "womd": LogFormat("womd", "Waymo Open Motion scenes as JSON of Nocturne or GPUDrive (.json, .json.gz)"),
    "nuscenes": LogFormat(
        "scenarionet", "nuScenes and Waymo scenes as pickles of ScenarioNet (.pkl, .pkl.gz)"
    ),
    "av2": LogFormat("argoverse2", "Argoverse 2 sensor logs and forecasting scenarios"),
    "py123d": LogFormat("py123d", "logs that py123d has converted: nuPlan, KITTI-360, PandaSet and others"),
}
"""Formats by the name of their command, `gigapixel scenes NAME`."""


@dataclass
class ImportReport:
    """Result of an import."""

    imported: list[str] = field(default_factory=list)  # names of the scenes in the pack
    refused: list[str] = field(default_factory=list)  # one error message each


def import_logs(
    sources: Sequence[Path], read: Reader, output: Path, workers: int = 1, strict: bool = False
) -> ImportReport:
    """Read every source and write all scenes as one pack, in the order of the sources.

    Raises ValueError where `strict` and a source is refused, or where no scene can be imported; no pack is written
    then.
    """
    report = ImportReport()
    with ScenePackWriter(output) as pack:
        for scenes, refusal in _progress(_read_all(sources, read, workers), len(sources)):
            for scene in scenes:
                try:
                    pack.add(scene)
                    report.imported.append(scene.log.name)
                except ValueError as error:
                    refusal = str(error)
            if refusal is not None:
                report.refused.append(refusal)
                if strict:
                    raise ValueError(refusal)
        if not report.imported:
            first = f"; first refusal: {report.refused[0]}" if report.refused else ""
            raise ValueError(f"{output}: none of {len(sources)} sources could be imported{first}")
    return report


def _read_all(
    sources: Sequence[Path], read: Reader, workers: int
) -> Iterator[tuple[list[LoggedScene], str | None]]:
    """Scenes and error message of every source, in order."""
    if workers <= 1 or len(sources) <= 1:
        yield from (_attempt(read, source) for source in sources)
        return
    # Not forked: this process may have threads of JAX, which a fork copies in an undefined state.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(sources)), mp_context=context) as pool:
        yield from pool.map(_attempt, [read] * len(sources), sources)


def _attempt(read: Reader, source: Path) -> tuple[list[LoggedScene], str | None]:
    try:
        scenes = read(source)
    except (ValueError, OSError) as error:
        return [], str(error)
    return (scenes if isinstance(scenes, list) else [scenes]), None


def _progress(results: Iterable, total: int) -> Iterable:
    return tqdm(results, total=total, unit="log", disable=not sys.stderr.isatty(), leave=False)


def find_sources(name: str, given: str | None) -> tuple[list[Path], Reader]:
    """Logs to import and their reader, for a format of LOG_FORMATS.

    The logs are those in `given`, or in the format's folders below $GIGAPIXEL_DATA without it. Raises ValueError or
    FileNotFoundError where there are none.
    """
    listed = LOG_FORMATS[name]
    reader: LogReader = importlib.import_module(f"simulator.logs.readers.{listed.module}").READER
    roots = _input_roots(given, reader.folders, listed.description)
    sources = [source for root in roots for source in reader.find(root)]
    if not sources:
        raise ValueError(f"--input {given or roots[0]} holds no {listed.description}")
    return sources, reader.read


def files_matching(*patterns: str) -> Callable[[Path], list[Path]]:
    """A `LogReader.find` for formats of one file per log: the path itself, or the matching files in a folder."""

    def find(root: Path) -> list[Path]:
        return (
            [root]
            if root.is_file()
            else sorted({path for pattern in patterns for path in root.glob(pattern)})
        )

    return find


def _input_roots(given: str | None, folders: Sequence[str], what: str) -> list[Path]:
    """The path that `--input` names, or else the existing ones of `folders` below $GIGAPIXEL_DATA. Raises ValueError
    or FileNotFoundError where there is none."""
    if given is not None:
        if not Path(given).exists():
            raise FileNotFoundError(f"--input {given}: no such file or folder; expected {what}")
        return [Path(given)]
    data = os.environ.get(DATA_VARIABLE)
    if not data:
        raise ValueError(
            f"--input is not given and {DATA_VARIABLE} is not set; expected one of them to name {what}"
        )
    found = [Path(data) / folder for folder in folders if (Path(data) / folder).is_dir()]
    if not found:
        raise FileNotFoundError(f"{data}: has no {' and no '.join(folders)}; pass --input to name {what}")
    return found
