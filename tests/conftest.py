"""Shared by every test: strict JAX, few threads, fresh keys, and where real data lives."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Read when JAX is first imported.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")
# Programs that several tests, or the commands they start, compile alike are compiled once.
os.environ["JAX_COMPILATION_CACHE_DIR"] = (
    os.environ["JAX_COMPILATION_CACHE_DIR"]
    if "PYTEST_XDIST_WORKER" in os.environ  # started by a process that has made the folder
    else tempfile.mkdtemp(prefix="gigapixel-compiled-")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
# Compiling is most of a test's time, and fast machine code is not what is tested. `XLA_FLAGS= pytest` runs what ships.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import numpy as np
import pytest
import torch
from jaxtyping import config as jaxtyping_config
from jaxtyping import install_import_hook

# Read when Triton is first imported, as torchvision does: where there is no GPU, its kernels run on the CPU, slowly.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

ROOMS = ("simulator", "teacher", "renderer", "student", "adaptation", "gigapixel")
TESTS = Path(__file__).resolve().parent
LONGEST_FIRST = ("teacher", "benchmarks", "gigapixel", "student", "adaptation", "simulator", "renderer")
LIBRARIES = ("jax", "flax.linen", "optax", "scipy.spatial", "shapely", "numba", "lightning", "timm", "h5py")


def check_types_of_our_packages() -> None:
    """Every annotated function of ours checks the types and shapes it gets and gives; an int may stand for a float.

    The import hook keeps its own bytecode, also of libraries that a checked module is the first to import: so these
    are loaded beforehand, from the bytecode that they were installed with.
    """
    for library in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(library)
    if importlib.util.find_spec("beartype"):
        checker = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
        install_import_hook(ROOMS, checker)


check_types_of_our_packages()
# Processes that share the cores would wait for each other at the end of every operation.
torch.set_num_threads(max(1, (os.cpu_count() or 1) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))))


def pytest_sessionfinish() -> None:
    """Leave nothing behind."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        shutil.rmtree(os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files come first, so that no process works on one when the others are done; tests marked `cuda` are skipped
    where there is no GPU."""
    turns = {TESTS / folder: turn for turn, folder in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: min(turns.get(parent, len(turns)) for parent in item.path.parents))
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="needs an NVIDIA GPU that torch can see")
    for item in items:
        if item.get_closest_marker("cuda"):
            item.add_marker(skip)


@pytest.fixture
def getkey(request: pytest.FixtureRequest) -> Callable[[], Any]:
    """Each call gives a fresh typed JAX key; the sequence depends only on the test's name."""
    import jax

    seed = sum(request.node.name.encode())
    key = jax.random.key(seed)

    def next_key() -> Any:
        nonlocal key
        key, fresh = jax.random.split(key)
        return fresh

    return next_key


@pytest.fixture(scope="session")
def unchecked_types() -> Callable[[], contextlib.AbstractContextManager[None]]:
    """A context in which types are not checked, for trainings of minutes: checking every call takes longer than they
    do, and other tests of the same functions check them."""

    @contextlib.contextmanager
    def unchecked() -> Iterator[None]:
        jaxtyping_config.update("jaxtyping_disable", True)
        try:
            yield
        finally:
            jaxtyping_config.update("jaxtyping_disable", False)

    return unchecked


@pytest.fixture
def single_use_keys() -> Iterator[None]:
    """JAX refuses a key that is used twice, for one test.

    Not on for all tests: JAX 0.10 also refuses a vmapped `scan` over split keys, which uses each key once.
    """
    import jax

    with jax.debug_key_reuse(True):
        yield


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A numpy generator seeded by the test's name."""
    return np.random.default_rng(sum(request.node.name.encode()))


@pytest.fixture
def torch_seed() -> Iterator[None]:
    """Seed torch for one test and put its generator back afterwards."""
    state = torch.get_rng_state()
    torch.manual_seed(0)
    yield
    torch.set_rng_state(state)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real camera frames and logs; skips where the machine has none."""
    value = os.environ.get("GIGAPIXEL_DATA")
    if not value:
        pytest.skip("real camera frames are read from the folder in GIGAPIXEL_DATA, which is not set")
    folder = Path(value)
    if not (folder / "camera" / "frames.jsonl").is_file():
        pytest.skip(f"GIGAPIXEL_DATA={value} has no camera/frames.jsonl")
    return folder


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository, where configs/ and notebooks/ lie."""
    return Path(__file__).resolve().parent.parent
