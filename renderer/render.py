"""`render(scene, rig)`: one signature, several backends, the same image."""

import importlib.util
import logging
from collections.abc import Sequence
from functools import cache

from renderer.camera import CameraRig
from renderer.frame import CHANNELS, Frame, check_channels
from renderer.scene import Scene

BACKENDS = ("auto", "reference", "numba", "triton", "nvdiffrast")
log = logging.getLogger(__name__)


def render(
    scene: Scene,
    rig: CameraRig,
    size: tuple[int, int] | None = None,
    channels: Sequence[str] = CHANNELS,
    backend: str = "auto",
) -> Frame:
    """Render the images of every camera of `rig` for every viewer of `scene`, on the device of the scene.

    Args:
        scene: validated here.
        rig: the cameras of every viewer, on the device of the scene.
        size: (height, width) of the images in pixels, with the rig's field of view; the rig's own size if None.
        channels: which of `frame.CHANNELS` to draw; fewer cost less.
        backend: "reference" defines the image (slow, any device); "numba" is fast on the CPU; "triton" is fast on CUDA;
            "nvdiffrast" needs CUDA and an optional install with a non-commercial licence; "auto" is the fast backend
            for the device of the scene.

    Raises:
        ValueError: the scene or the rig cannot be drawn, a channel or the backend is unknown, or the backend is not
            available for the device of the scene.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend={backend!r} is unknown; choose one of {', '.join(BACKENDS)}")
    channels = check_channels(channels)
    scene.validate()
    rig.validate()
    if size is not None:
        rig = rig.resized(*size)
    if rig.intrinsics.device != scene.device:
        raise ValueError(
            f"the rig lies on {rig.intrinsics.device} and the scene on {scene.device}; use rig.to(device)"
        )
    chosen = automatic_backend(scene.device.type) if backend == "auto" else backend
    if chosen == "numba":
        from renderer.backends.numba_cpu.entry import (
            render_numba,  # loads a compiler: imported only when needed
        )

        return render_numba(scene, rig, channels)
    if chosen == "triton":
        from renderer.backends.triton_cuda.entry import render_triton

        return render_triton(scene, rig, channels)
    if chosen == "nvdiffrast":
        from renderer.backends.nvdiffrast_cuda import render_nvdiffrast

        return render_nvdiffrast(scene, rig, channels)
    from renderer.backends.reference import render_reference

    return render_reference(scene, rig, channels)


@cache
def automatic_backend(device_type: str) -> str:
    """The fast backend for a torch device type; the reference, with a warning, if there is none."""
    if device_type == "cpu":
        return "numba"
    if device_type == "cuda":
        for backend in ("triton", "nvdiffrast"):  # also the names of their packages
            if importlib.util.find_spec(backend) is not None:
                return backend
    log.warning("no fast backend for a scene on %s: drawing with the slow reference", device_type)
    return "reference"
