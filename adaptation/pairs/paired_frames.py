"""`PairedFrames`: every real moment beside its own rendering, both on the student's cameras."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8

from adaptation.frames.calibrated_rig import turned_rig
from adaptation.frames.camera_frame import CameraFrame, Moment
from adaptation.frames.camera_log import CameraLog
from adaptation.frames.ego_motion import motion_of
from adaptation.pairs.lanes import LaneMap, lane_map_of
from adaptation.pairs.pair import Pair
from adaptation.pairs.reconstruction import ground_normal_rig, scene_of
from adaptation.pairs.virtual_camera import View, fill
from renderer.camera import CameraRig
from renderer.render import render

log = logging.getLogger(__name__)

MIN_COVERAGE = 0.5
"""A target camera is masked when no source camera sees at least this share of its pixels."""


@dataclass(frozen=True)
class Source:
    """Which real picture stands in for one camera of the student."""

    frame: CameraFrame
    view: View
    coverage: float  # share of the target's pixels that the picture covers


def view_through(frame: CameraFrame, rig: CameraRig, index: int) -> View:
    """Camera `index` of the rig looked at through the picture's camera."""
    rig_from_target = rig.rig_from_camera[index, :3, :3].double().numpy()
    return View(
        height=rig.height,
        width=rig.width,
        target_intrinsics=rig.intrinsics[index].double().numpy(),
        source_from_target=frame.rig_from_camera()[:3, :3].T @ rig_from_target,
        source_intrinsics=frame.intrinsics,
        source_height=frame.height,
        source_width=frame.width,
    )


def choose_source(
    moment: Moment, rig: CameraRig, index: int, min_coverage: float = MIN_COVERAGE
) -> Source | None:
    """The picture that sees most of the rig's camera `index`; None if none sees enough of it."""
    candidates = []
    for frame in moment.cameras:
        view = view_through(frame, rig, index)
        candidates.append(Source(frame, view, view.coverage()))
    best = max(candidates, key=lambda source: source.coverage)
    return best if best.coverage >= min_coverage else None


def render_frame(
    frame: CameraFrame,
    rig: CameraRig,
    normal_rig: Float[np.ndarray, " 3"],
    lane_map: LaneMap | None = None,
    backend: str = "auto",
) -> UInt8[np.ndarray, "height width 3"]:
    """The rendering of one real picture's moment through the (only) camera of `rig`."""
    drawn = render(scene_of(frame, normal_rig, lane_map), rig, channels=("rgb",), backend=backend)
    return drawn.rgb[0, 0].cpu().numpy()


class PairedFrames(Sequence[Pair]):
    """Pairs of real moments, made once and kept in memory (a moment on four 96 x 54 cameras is 125 kB).

    Args:
        camera_log: The real pictures.
        rig: The student's cameras.
        scenes: Scenes to use; None takes all.
        min_coverage: A camera of the rig of which no real picture sees this share is masked.
        backend: Renderer backend.
    """

    def __init__(
        self,
        camera_log: CameraLog,
        rig: CameraRig,
        scenes: Sequence[str] | None = None,
        min_coverage: float = MIN_COVERAGE,
        backend: str = "auto",
    ) -> None:
        if not 0 < min_coverage <= 1:
            raise ValueError(f"min_coverage={min_coverage} must lie in (0, 1]")
        self.camera_log = camera_log
        self.rig = rig
        self.min_coverage = min_coverage
        self.backend = backend
        wanted = camera_log.scenes if scenes is None else list(scenes)
        unknown = [name for name in wanted if name not in camera_log.scenes]
        if unknown:
            raise ValueError(f"there is no scene {unknown[0]!r}; the camera log has {camera_log.scenes}")
        self._lane_maps: dict[str, LaneMap | None] = {}
        made = [self._pair(moment) for moment in camera_log.of_scenes(wanted)]
        self._pairs = [pair for pair in made if bool(pair.camera_mask.any())]
        if len(self._pairs) < len(made):
            log.warning(
                "%d moments see none of the rig's cameras and are left out", len(made) - len(self._pairs)
            )

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Pair:  # type: ignore[override]
        return self._pairs[index]

    def __iter__(self) -> Iterator[Pair]:
        return iter(self._pairs)

    def lane_map(self, moment: Moment) -> LaneMap | None:
        """The lane map of the moment's scene, where there is one; read once."""
        if moment.scene not in self._lane_maps:
            self._lane_maps[moment.scene] = lane_map_of(self.camera_log.root, moment.dataset, moment.seq)
        return self._lane_maps[moment.scene]

    def _pair(self, moment: Moment) -> Pair:
        shape = (self.rig.num_cameras, self.rig.height, self.rig.width, 3)
        real, rendering = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
        mask = np.zeros(self.rig.num_cameras, bool)
        normal = ground_normal_rig(moment)
        for index in range(self.rig.num_cameras):
            source = choose_source(moment, self.rig, index, self.min_coverage)
            if source is None:
                continue
            mask[index] = True
            turned = turned_rig(source.frame, self.rig, index)
            drawn = render_frame(source.frame, turned, normal, self.lane_map(moment), self.backend)
            rendering[index] = fill(drawn, source.view.covered())
            real[index] = source.view.resample(source.frame.picture())
        motion = motion_of(moment, self.camera_log.of_scenes([moment.scene]))
        return Pair(
            name=moment.name,
            scene=moment.scene,
            real=torch.from_numpy(real),
            rendering=torch.from_numpy(rendering),
            camera_mask=torch.from_numpy(mask),
            ego=motion.ego,
            command=motion.command,
            conditioning=motion.conditioning,
            pseudo_labels=moment.pseudo_labels,
        )
