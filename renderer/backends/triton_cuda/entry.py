"""The fast renderer for CUDA: our own kernels in Triton, which torch's builds for CUDA bring along.

With TRITON_INTERPRET=1 in the environment, Triton runs the same kernels on the CPU, slowly: so they are tested where
there is no GPU.
"""

from collections.abc import Callable, Sequence

import torch

from renderer.camera import CameraRig
from renderer.frame import CHANNELS, Frame
from renderer.scene import Scene


def render_triton(scene: Scene, rig: CameraRig, channels: Sequence[str] = CHANNELS) -> Frame:
    """Draw a valid scene on CUDA; see `renderer.render.render`."""
    draw_views, interpreted = _kernels()
    if not interpreted and not torch.cuda.is_available():
        raise ValueError("backend='triton' needs an NVIDIA GPU and torch sees none; use backend='numba'")
    if not interpreted and scene.device.type != "cuda":
        raise ValueError(
            f"backend='triton' draws on CUDA and the scene lies on {scene.device}; use Scene.to('cuda')"
        )
    with torch.no_grad():
        return draw_views(scene, rig, channels)


def _kernels() -> tuple[Callable[[Scene, CameraRig, Sequence[str]], Frame], bool]:
    """What launches the kernels, and whether they are interpreted; loads Triton."""
    try:
        import triton  # noqa: F401 (whether it is there)
    except ImportError as error:
        raise ValueError(
            "backend='triton' needs the package triton, which comes with torch's builds for CUDA; pip install triton, "
            "or use another backend"
        ) from error
    from renderer.backends.triton_cuda.launch import INTERPRETED, draw_views

    return draw_views, INTERPRETED
