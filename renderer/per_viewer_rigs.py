"""Viewers with different cameras in one frame: one call of `render` for each rig."""

from collections.abc import Sequence
from dataclasses import replace

from jaxtyping import Int
from torch import Tensor

from renderer.camera import CameraRig
from renderer.frame import CHANNELS, Frame
from renderer.render import render
from renderer.scene import Scene


def render_each(
    scene: Scene,
    rigs: Sequence[CameraRig],
    viewer_rig: Int[Tensor, " viewers"],
    channels: Sequence[str] = CHANNELS,
    backend: str = "auto",
) -> Frame:
    """Draw what every viewer of `scene` sees through its own rig, `rigs[viewer_rig]`; pictures in the viewers' order.

    The rigs must have equally many cameras and one picture size. Each rig that somebody has costs one call of
    `render`, so let many viewers share a few rigs; keep the rigs from one picture to the next, since each computes the
    rays of its cameras once. Everything else is as for `render`.
    """
    _check(scene, rigs, viewer_rig)
    chosen = viewer_rig.cpu()
    used = chosen.unique().tolist() or [0]
    if len(used) == 1:
        return render(scene, rigs[used[0]], channels=channels, backend=backend)
    pictures: dict[str, Tensor] = {}
    for which in used:
        viewers = (chosen == which).nonzero()[:, 0].to(scene.device)
        frame = render(_seen_by(scene, viewers), rigs[which], channels=channels, backend=backend)
        for channel, part in frame.channels.items():
            if channel not in pictures:
                pictures[channel] = part.new_empty((scene.num_viewers, *part.shape[1:]))
            pictures[channel][viewers] = part
    return Frame(pictures)


def _seen_by(scene: Scene, viewers: Int[Tensor, " viewers"]) -> Scene:
    """The scene with only these of its viewers."""
    return replace(
        scene,
        viewer_world=scene.viewer_world[viewers],
        viewer_box=scene.viewer_box[viewers],
        world_from_rig=scene.world_from_rig[viewers],
    )


def _check(scene: Scene, rigs: Sequence[CameraRig], viewer_rig: Tensor) -> None:
    if not rigs:
        raise ValueError("rigs is empty; give at least one")
    for place, rig in enumerate(rigs):
        here, first = ((r.num_cameras, r.height, r.width) for r in (rig, rigs[0]))
        if here != first:
            raise ValueError(
                f"rigs[{place}] has (cameras, height, width) = {here} and rigs[0] {first}; rigs that are drawn "
                "together must agree"
            )
    if len(viewer_rig) != scene.num_viewers:
        raise ValueError(f"viewer_rig holds {len(viewer_rig)} rigs for the {scene.num_viewers} viewers")
    wrong = ((viewer_rig < 0) | (viewer_rig >= len(rigs))).nonzero()
    if len(wrong):
        viewer = int(wrong[0])
        raise ValueError(
            f"viewer_rig[{viewer}]={int(viewer_rig[viewer])} must be from 0 to {len(rigs) - 1}, one of the rigs"
        )
