"""`render_triton`: the fast renderer for CUDA, kernels in Triton (which torch's CUDA builds include).

With TRITON_INTERPRET=1 in the environment, Triton interprets the same kernels on the CPU, slowly: tests use this where
there is no GPU.
"""

from collections.abc import Callable, Sequence

import torch

from renderer.camera import CameraRig
from renderer.frame import CHANNELS, Frame
from renderer.scene import Scene


def render_triton(scene: Scene, rig: CameraRig, channels: Sequence[str] = CHANNELS) -> Frame:
    """As `renderer.render.render`, for a validated scene on CUDA; raises ValueError where that is not possible."""
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
    """`launch.draw_views`, and whether Triton interprets; raises ValueError if Triton is not installed."""
    try:
        import triton  # noqa: F401 (is it installed?)
    except ImportError as error:
        raise ValueError(
            "backend='triton' needs the package triton, which comes with torch's builds for CUDA; pip install triton, "
            "or use another backend"
        ) from error
    from renderer.backends.triton_cuda.launch import INTERPRETED, draw_views

    return draw_views, INTERPRETED
