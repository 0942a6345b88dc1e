"""`PairedFrames`: every real sample with its rendering, both on the student's cameras."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8

from adaptation.frames.calibrated_rig import virtual_camera_rig
from adaptation.frames.camera_frame import CameraFrame, CameraSample
from adaptation.frames.camera_log import CameraLog
from adaptation.frames.ego_motion import ego_inputs_of_sample
from adaptation.pairs.lanes import LaneMap, lane_map_of
from adaptation.pairs.pair import Pair
from adaptation.pairs.reconstruction import ground_normal_rig, scene_of_frame
from adaptation.pairs.virtual_camera import VirtualView, fill_uncovered
from renderer.camera import CameraRig
from renderer.render import render

log = logging.getLogger(__name__)

MIN_CAMERA_COVERAGE = 0.5
"""A target camera is masked where no source camera covers at least this share of its pixels."""


@dataclass(frozen=True)
class FrameSource:
    """The real image that is resampled to one camera of the student."""

    frame: CameraFrame
    view: VirtualView
    coverage: float  # share of the target's pixels that the image covers


def virtual_view(frame: CameraFrame, rig: CameraRig, index: int) -> VirtualView:
    """Camera `index` of the rig as a virtual camera of a real image."""
    rig_from_target = rig.rig_from_camera[index, :3, :3].double().numpy()
    return VirtualView(
        height=rig.height,
        width=rig.width,
        target_intrinsics=rig.intrinsics[index].double().numpy(),
        source_from_target=frame.rig_from_camera()[:3, :3].T @ rig_from_target,
        source_intrinsics=frame.intrinsics,
        source_height=frame.height,
        source_width=frame.width,
    )


def choose_source(
    sample: CameraSample, rig: CameraRig, index: int, min_coverage: float = MIN_CAMERA_COVERAGE
) -> FrameSource | None:
    """The image that covers most of the rig's camera `index`; None if none covers `min_coverage` of its pixels."""
    candidates = []
    for frame in sample.cameras:
        view = virtual_view(frame, rig, index)
        candidates.append(FrameSource(frame, view, view.coverage()))
    best = max(candidates, key=lambda source: source.coverage)
    return best if best.coverage >= min_coverage else None


def render_frame(
    frame: CameraFrame,
    rig: CameraRig,
    normal_rig: Float[np.ndarray, " 3"],
    lane_map: LaneMap | None = None,
    backend: str = "auto",
) -> UInt8[np.ndarray, "height width 3"]:
    """The scene of one real image rendered through the only camera of `rig`."""
    drawn = render(scene_of_frame(frame, normal_rig, lane_map), rig, channels=("rgb",), backend=backend)
    return drawn.rgb[0, 0].cpu().numpy()


class PairedFrames(Sequence[Pair]):
    """Pairs of real samples, made once and kept in memory (four 96 x 54 cameras take 125 kB).

    Samples of which no image covers enough of any camera are left out, with a warning.

    Args:
        camera_log: The real images.
        rig: The student's cameras.
        scenes: Scenes to use; None takes all.
        min_coverage: A camera of the rig is masked where no real image covers this share of its pixels.
        backend: Renderer backend.

    Raises:
        ValueError: `min_coverage` is not in (0, 1], or there is no such scene.
    """

    def __init__(
        self,
        camera_log: CameraLog,
        rig: CameraRig,
        scenes: Sequence[str] | None = None,
        min_coverage: float = MIN_CAMERA_COVERAGE,
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
        pairs = [self._pair(sample) for sample in camera_log.samples_of_scenes(wanted)]
        self._pairs = [pair for pair in pairs if bool(pair.camera_mask.any())]
        if len(self._pairs) < len(pairs):
            log.warning(
                "%d samples cover none of the rig's cameras and are left out", len(pairs) - len(self._pairs)
            )

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Pair:  # type: ignore[override]
        return self._pairs[index]

    def __iter__(self) -> Iterator[Pair]:
        return iter(self._pairs)

    def lane_map(self, sample: CameraSample) -> LaneMap | None:
        """The lane map of the sample's scene, or None where there is none; read once per scene."""
        if sample.scene not in self._lane_maps:
            self._lane_maps[sample.scene] = lane_map_of(self.camera_log.root, sample.dataset, sample.seq)
        return self._lane_maps[sample.scene]

    def _pair(self, sample: CameraSample) -> Pair:
        shape = (self.rig.num_cameras, self.rig.height, self.rig.width, 3)
        real, rendering = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
        mask = np.zeros(self.rig.num_cameras, bool)
        normal = ground_normal_rig(sample)
        for index in range(self.rig.num_cameras):
            source = choose_source(sample, self.rig, index, self.min_coverage)
            if source is None:
                continue
            mask[index] = True
            virtual_rig = virtual_camera_rig(source.frame, self.rig, index)
            rendered = render_frame(source.frame, virtual_rig, normal, self.lane_map(sample), self.backend)
            rendering[index] = fill_uncovered(rendered, source.view.covered())
            real[index] = source.view.resample(source.frame.load_image())
        inputs = ego_inputs_of_sample(sample, self.camera_log.samples_of_scenes([sample.scene]))
        return Pair(
            name=sample.name,
            scene=sample.scene,
            real=torch.from_numpy(real),
            rendering=torch.from_numpy(rendering),
            camera_mask=torch.from_numpy(mask),
            ego=inputs.ego,
            command=inputs.command,
            conditioning=inputs.conditioning,
            pseudo_labels=sample.pseudo_labels,
        )
