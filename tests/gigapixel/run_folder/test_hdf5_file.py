"""HDF5 files on full disks, in use by others, and damaged."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from gigapixel.run_folder.hdf5_file import open_hdf5, stream_hdf5, write_hdf5

LIBRARY = ("v110", "v110")


def _fill(file: h5py.File) -> None:
    noise = np.random.default_rng(0).normal(size=(40, 2000))
    for number, values in enumerate(noise):
        file.create_dataset(f"group/{number}", data=values, compression="gzip")


def _write(path: Path, streamed: bool) -> None:
    if streamed:
        with stream_hdf5(path, LIBRARY) as (file, raise_fault):
            _fill(file)
            raise_fault()
    else:
        with write_hdf5(path) as file:
            _fill(file)


FULL_DISK = """
import errno, os, resource, sys
import numpy as np
from gigapixel.run_folder.hdf5_file import stream_hdf5, write_hdf5

path, noise = sys.argv[1], np.random.default_rng(0).normal(size=(40, 2000))
for streamed in (False, True):
    for limit in (0, 3_000, 100_000, 400_000):
        child = os.fork()
        if child == 0:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            try:
                with stream_hdf5(path, ("v110", "v110")) if streamed else write_hdf5(path) as opened:
                    file = opened[0] if streamed else opened
                    for number, values in enumerate(noise):
                        file.create_dataset(f"group/{number}", data=values, compression="gzip")
            except OSError as error:
                sys.exit(0 if (error.errno, error.filename) == (errno.EFBIG, path) else 2)
            sys.exit(1)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(streamed, limit, code, os.listdir(os.path.dirname(path)))
"""


def test_a_full_disk_is_an_error_with_the_name_of_the_file_and_leaves_nothing(
    tmp_path: Path, repository: Path
) -> None:
    """In processes whose files have a longest size; HDF5 itself would end them with a segmentation fault."""
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "pack.h5")]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True, timeout=60)
    assert [line.split(maxsplit=2)[2] for line in done.stdout.splitlines()] == ["0 []"] * 8
    assert done.stderr == ""


@pytest.mark.parametrize("streamed", [False, True])
def test_what_is_written_is_read(tmp_path: Path, streamed: bool) -> None:
    _write(tmp_path / "pack.h5", streamed)
    assert [path.name for path in tmp_path.iterdir()] == ["pack.h5"]
    with open_hdf5(tmp_path / "pack.h5", "expected a pack") as file:
        assert len(file["group"]) == 40


def test_a_file_that_another_program_has_open_is_read_or_said_to_be_in_use(tmp_path: Path) -> None:
    path = tmp_path / "pack.h5"
    _write(path, streamed=False)
    holder = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with open_hdf5(path, "expected a pack") as file:
            assert "group" in file
    finally:
        os.close(holder)


def test_a_cut_file_and_one_of_another_kind_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pack.h5"
    _write(path, streamed=False)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"pack\.h5: truncated or damaged file \(.*\); expected a pack$"):
        open_hdf5(path, "expected a pack")
    path.write_text("text")
    with pytest.raises(ValueError, match=r"pack\.h5: is not an HDF5 file; expected a pack$"):
        open_hdf5(path, "expected a pack")
    with pytest.raises(FileNotFoundError, match="no such file; expected a pack"):
        open_hdf5(tmp_path / "absent.h5", "expected a pack")
