"""`render(scene, rig)`: one signature, several backends, the same picture."""

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
    """Draw what every camera of `rig` sees from every viewer of `scene`.

    Args:
        scene: checked here; refused with one sentence if it cannot be drawn. rig: the cameras of every viewer, on the
        device of the scene. size: (height, width) of the pictures in pixels, the same view as the rig's; the rig's
        own size if not given. channels: which of `frame.CHANNELS` to draw; fewer cost less. backend: "reference"
        defines the picture (slow, any device); "numba" is fast on the CPU; "triton" is fast on CUDA; "nvdiffrast" draws
            on CUDA too and is an optional install with a non-commercial licence; "auto" takes the fast one for the
            device of the scene: numba, or triton.
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
    chosen = _automatic(scene.device.type) if backend == "auto" else backend
    if chosen == "numba":
        from renderer.backends.numba_cpu.entry import (
            render_numba,  # loads a compiler: only for those who draw with it
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
def _automatic(device_type: str) -> str:
    if device_type == "cpu":
        return "numba"
    if device_type == "cuda":
        for backend in ("triton", "nvdiffrast"):  # packages of these names
            if importlib.util.find_spec(backend) is not None:
                return backend
    log.warning("no fast backend for a scene on %s: drawing with the slow reference", device_type)
    return "reference"
