"""Rendering of viewers with different rigs into one frame: one call of `render` per rig."""

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
    """Render every viewer of `scene` with its own rig, `rigs[viewer_rig]`; images are in the order of the viewers.

    The rigs must have the same number of cameras and the same image size. Each rig in use costs one call of `render`,
    so share a few rigs among many viewers, and reuse them, since each caches the rays of its cameras. Raises
    ValueError if rigs and viewers do not match; everything else is as for `render`.
    """
    _check(scene, rigs, viewer_rig)
    chosen = viewer_rig.cpu()
    used = chosen.unique().tolist() or [0]
    if len(used) == 1:
        return render(scene, rigs[used[0]], channels=channels, backend=backend)
    images: dict[str, Tensor] = {}
    for which in used:
        viewers = (chosen == which).nonzero()[:, 0].to(scene.device)
        frame = render(_with_viewers(scene, viewers), rigs[which], channels=channels, backend=backend)
        for channel, image in frame.channels.items():
            if channel not in images:
                images[channel] = image.new_empty((scene.num_viewers, *image.shape[1:]))
            images[channel][viewers] = image
    return Frame(images)


def _with_viewers(scene: Scene, viewers: Int[Tensor, " viewers"]) -> Scene:
    """`scene` with only the given viewers."""
    return replace(
        scene,
        viewer_world=scene.viewer_world[viewers],
        viewer_box=scene.viewer_box[viewers],
        world_from_rig=scene.world_from_rig[viewers],
    )


def _check(scene: Scene, rigs: Sequence[CameraRig], viewer_rig: Int[Tensor, " viewer_rigs"]) -> None:
    """Raise ValueError if the rigs differ in size or `viewer_rig` does not fit rigs and viewers."""
    if not rigs:
        raise ValueError("rigs is empty; give at least one")
    for index, rig in enumerate(rigs):
        here, first = ((r.num_cameras, r.height, r.width) for r in (rig, rigs[0]))
        if here != first:
            raise ValueError(
                f"rigs[{index}] has (cameras, height, width) = {here} and rigs[0] {first}; rigs that are drawn "
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
