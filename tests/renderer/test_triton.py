"""The Triton backend: images do not depend on tiles, chunks and lengths of lists; its kernels compile for a GPU."""

import os
import subprocess
import sys

import pytest
import torch

from renderer import CHANNELS, ClassId, dashed_quads, render
from tests.same_picture import assert_same


@pytest.mark.parametrize("settings", [{"tile": (4, 16)}, {"memory_bytes": 0}])
def test_images_do_not_depend_on_tiles_and_chunks(triton, street, one_camera, settings):
    """Other tiles than usual, or chunks of one view."""
    from renderer.backends.triton_cuda.launch import draw_views

    scene = street([(0.0, -1.75, 0.0, 0.0), (38.0, -20.0, 0.0, 1.4)])
    rig = one_camera(14, 22, 20.0, z_m=1.5)
    device = "cpu" if triton.interpreted else "cuda"
    expected, split = triton(scene, rig), draw_views(scene.to(device), rig.to(device), **settings).to("cpu")
    for channel in CHANNELS:
        assert torch.equal(expected[channel], split[channel])


def test_a_crowd(triton, one_world, one_camera):
    """More boxes, lights and quads of one cell than a warp has lanes, and more records than it tests at once."""
    boxes = [(12.0 + 2 * (k % 7), k // 7 - 2.5, 0.0, 0.3 * k, 0.7, 0.5, 1.5, k % 5) for k in range(42)]
    lights = [(20.0 + k % 9, 1.5 * (k % 6) - 4, 3.0 + 0.4 * (k // 6), 0.0, 1 + k % 3) for k in range(36)]
    lines = [
        dashed_quads([[3.0, y, 0], [21.0, y, 0]], 0.3, 0.4, 0.5, paint)
        for y, paint in ((-1.0, ClassId.MARKING_WHITE), (1.0, ClassId.CROSSWALK))
    ]
    scene, rig = one_world(boxes, lights, lines), one_camera(24, 40, 30.0, z_m=1.5)
    assert_same(render(scene, rig, backend="reference"), triton(scene, rig))


COMPILE = """
import torch, triton
from triton.backends.compiler import GPUTarget
from triton.runtime.jit import JITFunction

class Driver:
    get_current_device = get_current_stream = lambda self, *_: 0
    get_current_target = lambda self: GPUTarget("cuda", 90, 32)

def compile_only(kernel, grid):
    def launch(*arguments, **options):
        binary = kernel.warmup(*arguments, grid=grid, **options)
        print(kernel.fn.__name__, len(binary.asm["cubin"]))
        if kernel.fn.__name__ == "cull":  # no kernel runs: count one item in each segment, so that all are launched
            arguments[4].fill_(1)
    return launch

triton.runtime.driver.set_active(Driver())
JITFunction.__getitem__ = compile_only

from renderer import CHANNELS, CameraRig, GroundLibrary, GroundMesh, Scene
from renderer.backends.triton_cuda import launch
real, whole = torch.zeros, lambda *shape: torch.zeros(shape, dtype=torch.int64)
scene = Scene(
    real(1, 8, 3), real(1, 8, 3), real(1, 8), whole(1, 8), real(1, 4, 3), real(1, 4), whole(1, 4),
    GroundLibrary([GroundMesh.empty()]), whole(1), whole(1), whole(1), torch.eye(4)[None],
)
launch.draw_views(scene, CameraRig.nuplan(), CHANNELS)
"""


def test_kernels_compile_for_an_h100(triton, tmp_path, repository):
    """Triton's interpreter accepts more than its compiler does; compiling needs no GPU."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(repository)}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    compiled = dict(line.split() for line in done.stdout.splitlines())
    assert sorted(compiled) == ["cull", "draw_tile", "set_up_quads", "write_cameras"]
    assert all(int(size) > 0 for size in compiled.values())
