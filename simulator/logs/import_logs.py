"""Import many recorded scenes into one pack, on several processes; a refused scene costs one line, not the import."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from simulator.logs.scene_pack import LoggedScene, ScenePackWriter

Reader = Callable[[Path], LoggedScene | list[LoggedScene]]
DATA_VARIABLE = "GIGAPIXEL_DATA"


@dataclass
class ImportReport:
    """What became of an import."""

    imported: list[str] = field(default_factory=list)  # names of the scenes in the pack
    refused: list[str] = field(default_factory=list)  # one sentence each


def import_logs(
    sources: Sequence[Path], read: Reader, output: Path, workers: int = 1, strict: bool = False
) -> ImportReport:
    """Read every source and write all scenes as one pack, in the order of the sources.

    Raises ValueError when a source is refused and `strict`, or when no scene could be imported: then there is no pack.
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
    """Scenes and refusal of every source, in order."""
    if workers <= 1 or len(sources) <= 1:
        yield from (_attempt(read, source) for source in sources)
        return
    # Fresh processes: a fork would copy JAX's threads in whatever state they are.
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


def find_sources(given: str | None, folders: Sequence[str], patterns: Sequence[str], what: str) -> list[Path]:
    """Files to import: the one given, or all in the given folder, or in the data folder where none is given."""
    roots = input_roots(given, folders, what)
    files = [
        path
        for root in roots
        for path in (
            [root] if root.is_file() else sorted({p for pattern in patterns for p in root.glob(pattern)})
        )
    ]
    if not files:
        raise ValueError(f"--input {given or roots[0]} holds no {what} ({', '.join(patterns)})")
    return files


def input_roots(given: str | None, folders: Sequence[str], what: str) -> list[Path]:
    """What `--input` names, or the usual folders below $GIGAPIXEL_DATA."""
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
