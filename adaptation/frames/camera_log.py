"""Read `camera/frames.jsonl`: one JSON object per image, checked field by field, grouped into samples.

Nothing is repaired: an invalid field is an error that names file, line, field and value. What is decided for the whole
index is logged, in one line each: the unit of time stamps, classes drawn as static, boxes left out.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from adaptation.frames.camera_frame import CameraFrame, CameraSample
from adaptation.frames.frame_fields import ClassCounts, read_frame
from adaptation.frames.frame_time import Stamp, read_stamp, timed_scene
from adaptation.frames.index_line import IndexLine
from simulator.logs.import_logs import DATA_VARIABLE
from simulator.logs.time_unit import TimeUnit

log = logging.getLogger(__name__)

MAX_CAMERAS = 6


def data_folder(root: str | Path | None = None) -> Path:
    """The folder of real data: `root`, else $GIGAPIXEL_DATA.

    Raises:
        ValueError: Neither is set.
        FileNotFoundError: The folder has no camera/frames.jsonl.
    """
    value = root or os.environ.get(DATA_VARIABLE)
    if not value:
        raise ValueError(
            f"real camera frames are read from the folder in {DATA_VARIABLE}, which is not set; set it, "
            "or use configs/adaptation/stand_in.yaml, which needs no real data"
        )
    folder = Path(value)
    if not (folder / "camera" / "frames.jsonl").is_file():
        raise FileNotFoundError(f"{DATA_VARIABLE}={value} has no camera/frames.jsonl")
    return folder


@dataclass(frozen=True)
class CameraLog:
    """All real images of a data folder, grouped into samples, in the order of the file."""

    root: Path  # the folder that holds camera/ and logs/
    samples: tuple[CameraSample, ...]

    @classmethod
    def load(cls, root: str | Path | None = None, datasets: Sequence[str] | None = None) -> CameraLog:
        """Read and check the index of a data folder, see `data_folder`; `datasets` selects data sets (None: all).

        Raises ValueError or OSError for an invalid line, an image that is missing or broken, or no frame at all.
        """
        folder = data_folder(root)
        index = folder / "camera" / "frames.jsonl"
        counts = ClassCounts()
        frames: list[CameraFrame] = []
        stamps: list[Stamp | None] = []
        for number, text in enumerate(_read_lines(index), start=1):
            line = IndexLine.parse(text, index, number) if text.strip() else None
            if line is not None and (datasets is None or line.text("dataset") in datasets):
                frames.append(read_frame(line, index, counts))
                stamps.append(read_stamp(line))
        if not frames:
            wanted = "any data set" if datasets is None else f"the data sets {list(datasets)}"
            raise ValueError(f"{index}: no frame of {wanted}")
        _log_classes(index, counts)
        frames = _timed(index, frames, stamps)
        camera_log = cls(folder, _group(frames))
        camera_log.validate()
        log.info(
            "%s: %d images, %d samples, %d scenes",
            index,
            len(frames),
            len(camera_log.samples),
            len(camera_log.scenes),
        )
        return camera_log

    @property
    def scenes(self) -> list[str]:
        """Names of the scenes, in order of appearance."""
        return list(dict.fromkeys(sample.scene for sample in self.samples))

    def samples_of_scenes(self, scenes: Sequence[str]) -> list[CameraSample]:
        """The samples of these scenes, in the order of the log."""
        return [sample for sample in self.samples if sample.scene in scenes]

    def validate(self) -> None:
        """Check the header of every image file and the cameras of every sample; decodes no pixels.

        Raises ValueError or OSError.
        """
        for sample in self.samples:
            names = [camera.camera for camera in sample.cameras]
            if len(set(names)) < len(names):
                raise ValueError(
                    f"{sample.cameras[-1].where}: cam: {sample.name} lists a camera twice: {names}"
                )
            if len(names) > MAX_CAMERAS:
                raise ValueError(
                    f"{sample.cameras[-1].where}: cam: {sample.name} has {len(names)} cameras; "
                    f"at most {MAX_CAMERAS} are accepted"
                )
            for camera in sample.cameras:
                camera.check_header()


def _read_lines(index: Path) -> list[str]:
    """The lines of the index; only line feeds separate them, because JSON text may hold other separators."""
    try:
        return index.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{index}: is not UTF-8 text ({error})") from error


def _timed(index: Path, frames: Sequence[CameraFrame], stamps: Sequence[Stamp | None]) -> list[CameraFrame]:
    """The images with their times; logs the unit of each data set. Raises ValueError where a unit is not clear."""
    rows_of_scene: dict[str, list[int]] = {}
    for row, frame in enumerate(frames):
        rows_of_scene.setdefault(frame.scene, []).append(row)
    timed = list(frames)
    units: dict[tuple[str, str], list[TimeUnit]] = {}
    for rows in rows_of_scene.values():
        own, unit = timed_scene([frames[row] for row in rows], [stamps[row] for row in rows])
        for row, frame in zip(rows, own, strict=True):
            timed[row] = frame
        if unit is not None:
            units.setdefault((own[0].dataset, unit.name), []).append(unit)
    for (dataset, _), scenes in units.items():
        count = "1 scene" if len(scenes) == 1 else f"{len(scenes)} scenes"
        log.info("%s: timestamp of %s is in %s, %s", index, dataset, scenes[0].describe(), count)
    return timed


def _log_classes(index: Path, counts: ClassCounts) -> None:
    """One line for the classes that no known taxonomy has, and one for those that are no objects."""
    if counts.unmapped:
        log.warning(
            "%s: boxes of unknown classes, drawn as static: %s", index, _listed(counts.unmapped.most_common())
        )
    if counts.left_out:
        log.info("%s: left out: %s", index, _listed(counts.left_out.most_common()))


def _listed(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{count} {name!r}" for name, count in counts)


def _group(frames: list[CameraFrame]) -> tuple[CameraSample, ...]:
    samples: dict[tuple[str, str, int], list[CameraFrame]] = {}
    for frame in frames:
        samples.setdefault((frame.dataset, frame.seq, frame.frame), []).append(frame)
    return tuple(CameraSample(*key, cameras=tuple(cameras)) for key, cameras in samples.items())
