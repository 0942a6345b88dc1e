"""Import many logged scenes into one pack, in several processes. A refused scene is reported and does not end the
import."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from gigapixel.run_folder.exit_codes import error_message
from gigapixel.run_folder.interrupts import end_with_parent
from simulator.logs.scene_pack import LoggedScene, ScenePackWriter
from simulator.logs.traffic_log import repair_counts

DATA_VARIABLE = "GIGAPIXEL_DATA"
LEFT_OUT = " left out"
"""Repairs and remarks whose names end so say what a scene lacks."""


@dataclass(frozen=True)
class Refused:
    """A scene that cannot be imported."""

    message: str  # one sentence that names file and field


Reader = Callable[[Path], LoggedScene | list[LoggedScene | Refused]]


@dataclass(frozen=True)
class LogReader:
    """What a module of `simulator.logs.readers` offers as READER.

    Attributes:
        folders: Where logs of this format are, below $GIGAPIXEL_DATA.
        find: All logs at or below a path.
        read: The scenes of one log. Raises OSError or ValueError for a log that cannot be imported, and nothing
            else, whatever is in the file.
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
    remarks: dict[str, tuple[int, int]] = field(
        default_factory=dict
    )  # count and scenes of what was left out or said

    def add(self, scene: LoggedScene) -> None:
        """Count a scene that is in the pack."""
        self.imported.append(scene.log.name)
        left_out = {
            name: count for name, count in repair_counts(scene.log).items() if name.endswith(LEFT_OUT)
        }
        for name, count in {**left_out, **scene.remarks}.items():
            total, scenes = self.remarks.get(name, (0, 0))
            self.remarks[name] = total + count, scenes + 1

    def lines(self) -> list[str]:
        """What the scenes of the pack lack and what was taken for granted, one line per kind."""
        result = []
        for name, (count, scenes) in sorted(self.remarks.items()):
            if name.endswith(LEFT_OUT):
                result.append(f"left out: {count} {name.removesuffix(LEFT_OUT)}, in scenes: {scenes}")
            else:
                result.append(f"{name}, in scenes: {scenes}")
        return result


def import_logs(
    sources: Sequence[Path],
    read: Reader,
    output: Path,
    workers: int = 1,
    strict: bool = False,
    report_refusal: Callable[[str], None] = lambda message: None,
) -> ImportReport:
    """Read every source and write all scenes as one pack, in the order of the sources.

    `report_refusal` is called with the error message of each scene that is refused, at once. Raises ValueError where
    `strict` and a scene is refused, or where no scene can be imported; no pack is written then. Raises OSError where
    the pack cannot be written.
    """
    report = ImportReport()

    def refuse(message: str) -> None:
        report.refused.append(message)
        report_refusal(message)

    results = _read_all(sources, read, workers)
    with contextlib.closing(results), ScenePackWriter(output) as pack:
        for scenes in _progress(results, len(sources)):
            for scene in scenes:
                if isinstance(scene, Refused):
                    refuse(scene.message)
                    continue
                try:
                    pack.check(scene)
                except ValueError as error:
                    refuse(str(error))
                else:
                    pack.append(scene)
                    report.add(scene)
        if not report.imported:
            first = f"; first refusal: {report.refused[0]}" if report.refused else ""
            raise ValueError(f"{output}: none of {len(sources)} sources could be imported{first}")
        if strict and report.refused:
            count = f"{len(report.refused)} of {len(report.refused) + len(report.imported)}"
            raise ValueError(f"{report.refused[0]} ({count} scenes refused: {output} is not written)")
    return report


def _read_all(
    sources: Sequence[Path], read: Reader, workers: int
) -> Generator[list[LoggedScene | Refused], None, None]:
    """What `attempt` returns for every source, in order."""
    if workers <= 1 or len(sources) <= 1:
        yield from (attempt(read, source) for source in sources)
        return
    pending = list(sources)
    while pending:
        done = 0
        with contextlib.suppress(BrokenProcessPool), _processes(min(workers, len(pending))) as pool:
            with _interrupts_held():
                results = pool.map(attempt, [read] * len(pending), pending)
            for result in results:
                done += 1
                yield result
        del pending[:done]
        if pending:  # a reader ended its process, perhaps that of the first source without a result
            yield _attempt_alone(read, pending.pop(0))


def _attempt_alone(read: Reader, source: Path) -> list[LoggedScene | Refused]:
    """What `attempt` returns in a process of its own, or a refusal where that process ends."""
    try:
        with _processes(1) as pool:
            with _interrupts_held():
                result = pool.submit(attempt, read, source)
            return result.result()
    except BrokenProcessPool:
        return [
            Refused(f"{source}: ended the process that read it; expected an intact log, and enough memory")
        ]


@contextlib.contextmanager
def _processes(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Worker processes; on leaving, what they have not begun is cancelled."""
    # Not forked: this process may have threads of JAX, which a fork copies in an undefined state.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=end_with_parent)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C waits until the end of the block; processes started in it never see one, and leave it to this one."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def attempt(read: Reader, source: Path) -> list[LoggedScene | Refused]:
    """The scenes of one source, and a refusal for each scene that cannot be read."""
    try:
        scenes = read(source)
    except (ValueError, OSError) as error:
        return [Refused(error_message(error))]
    return scenes if isinstance(scenes, list) else [scenes]


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


def files_matching(*patterns: str, but: Sequence[str] = ()) -> Callable[[Path], list[Path]]:
    """A `LogReader.find` for formats of one file per log: the path itself, or the matching files in a folder, except
    those with a name in `but`."""

    def find(root: Path) -> list[Path]:
        if root.is_file():
            return [root]
        found = {path for pattern in patterns for path in root.glob(pattern)}
        return sorted(path for path in found if path.name not in but)

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
