"""A checkpoint gives back every bit, survives interruptions, and is refused where it does not fit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from teacher.run.checkpoint import list_checkpoints, load_checkpoint, read_progress, save_checkpoint


def state(width=3):
    return {
        "key": jax.random.key(7),
        "params": {"kernel": jnp.linspace(0.1, 1e-30, width, dtype=jnp.float32), "bias": jnp.asarray(-0.0)},
        "worlds": (jnp.asarray([True, False]), jnp.asarray([2**31 - 1], jnp.int32), jnp.zeros((0, 4))),
    }


def test_every_bit_comes_back(tmp_path):
    saved = state()
    path = save_checkpoint(tmp_path / "run", saved, 12, {"agent_steps": 2**40}, keep=2)
    loaded, progress = load_checkpoint(path, jax.eval_shape(state))
    assert progress == {"agent_steps": 2**40}
    assert jax.tree.structure(loaded) == jax.tree.structure(saved)
    assert jax.random.bits(loaded.pop("key")) == jax.random.bits(saved.pop("key"))
    for one, other in zip(jax.tree.leaves(loaded), jax.tree.leaves(saved)):
        assert one.dtype == other.dtype
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


def test_only_the_newest_stay(tmp_path):
    for update in (5, 10, 1000):
        save_checkpoint(tmp_path, state(), update, {}, keep=2)
    assert [path.name for path in list_checkpoints(tmp_path)] == [
        "update_000000010.h5",
        "update_000001000.h5",
    ]


def test_a_failed_save_leaves_the_one_before(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, state(), 1, {}, keep=1)

    def disk_full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(tmp_path, state(), 2, {}, keep=1)
    (newest,) = tmp_path.iterdir()
    assert newest.name == "update_000000001.h5"
    load_checkpoint(newest, state())


SAVE_FOREVER = """
import sys, pathlib, jax.numpy as jnp
from teacher.run.checkpoint import save_checkpoint
update = 0
while True:
    update += 1
    state = {"a": jnp.full(200_000, update), "b": jnp.asarray(update)}
    save_checkpoint(pathlib.Path(sys.argv[1]), state, update, {}, 2)
    print(update, flush=True)
"""


def test_a_process_killed_while_saving_leaves_a_good_checkpoint(tmp_path, repository, rng):
    process = subprocess.Popen(
        [sys.executable, "-c", SAVE_FOREVER, str(tmp_path)],
        cwd=repository,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while int(process.stdout.readline()) < 3:
        pass
    time.sleep(float(rng.uniform(0.0, 0.05)))
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    newest = list_checkpoints(tmp_path)[-1]
    template = {"a": jnp.zeros(200_000, jnp.int32), "b": jnp.asarray(0)}
    loaded, _ = load_checkpoint(newest, template)
    assert int(loaded["b"]) == int(newest.stem.removeprefix("update_")) >= 3
    assert (loaded["a"] == loaded["b"]).all()


def test_the_temporary_file_of_a_killed_session_is_removed_by_the_next_save(tmp_path):
    (tmp_path / ".update_000000002.4711.part.h5").write_bytes(b"half")
    save_checkpoint(tmp_path, state(), 3, {}, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["update_000000003.h5"]


def test_another_architecture_is_refused(tmp_path):
    path = save_checkpoint(tmp_path, state(width=3), 1, {}, keep=1)
    with pytest.raises(
        ValueError, match=r"another architecture: params/kernel is float32\[3\] in the file and float32\[4\]"
    ):
        load_checkpoint(path, state(width=4))
    with pytest.raises(ValueError, match="extra is nothing in the file"):
        load_checkpoint(path, state() | {"extra": jnp.zeros(2)})


def test_a_damaged_file_is_refused(tmp_path):
    path = save_checkpoint(tmp_path, state(), 1, {}, keep=1)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"update_000000001\.h5: truncated or damaged .* teacher checkpoint"):
        load_checkpoint(path, state())


def test_every_changed_byte_is_noticed(tmp_path, rng):
    """HDF5 itself notices few: most bytes are those of arrays."""
    saved = {"a": jnp.arange(50, dtype=jnp.float32)}
    path = save_checkpoint(tmp_path, saved, 1, {"agent_steps": 4}, keep=1)
    good = path.read_bytes()
    start = good.index(np.arange(50, dtype=np.float32).tobytes())
    for place in start + rng.integers(0, 200, 20):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.raises(ValueError, match=r"update_000000001\.h5: damaged file .* digest"):
            read_progress(path)
    path.write_bytes(good)
    assert read_progress(path) == {"agent_steps": 4}
