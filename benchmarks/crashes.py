"""`python -m benchmarks.crashes JOB [--interrupts N --kills N --full_disks N --output JSON]`: end a command at random
moments, go on, and compare with a run that nobody disturbed.

A job is a command in a folder of its own: `teacher`, `student` and `adapt` train with their debug configs, `womd`
imports logs ($GIGAPIXEL_DATA). Each disturbance is followed by the same command with `--resume`, in the same folder,
until a run is finished; then the next begins in an empty one. After every disturbance:

    exit code and stderr    130 and one line for Ctrl-C, 2 and one line for a full disk, no traceback
    files                   all that have their final name are complete; the newest checkpoint is not older than before
    the finished run        its result is that of the undisturbed run, bit for bit

A full disk is a small tmpfs (which needs the right to mount) of which a random part is taken.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.crash_jobs import JOBS, Content, Job
from gigapixel.run_folder.atomic import write_json
from gigapixel.run_folder.exit_codes import INTERRUPTED, REJECTED, run_command
from gigapixel.run_folder.metadata import source_commit

QUIET_S = 900.0  # a command that takes longer hangs


class FailedCheckError(RuntimeError):
    """A disturbance had a consequence that it must not have."""


@dataclass
class Tally:
    """Disturbances so far."""

    disturbed: int = 0
    after_the_end: int = 0  # the command was quicker
    nothing_saved: int = 0  # it was disturbed before its first checkpoint
    went_on: int = 0  # resumed from a checkpoint, or finished after it
    finished_runs: int = 0
    first_lines: dict[str, int] = field(default_factory=dict)

    def add_line(self, text: str) -> None:
        """Count what a command said, without paths and numbers."""
        line = re.sub(r"\S*/\S*|\d+", "…", text)
        self.first_lines[line] = self.first_lines.get(line, 0) + 1


def run(
    arguments: Sequence[str], after_s: float | None = None, number: int = 0
) -> tuple[int, str, float, bool]:
    """Run `gigapixel ARGUMENTS`, sending a signal to its process group after `after_s`. Returns exit code, stderr,
    seconds, and whether the signal was sent."""
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "gigapixel", *arguments],
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
        sent = False
        try:
            process.wait(QUIET_S if after_s is None else after_s)
        except subprocess.TimeoutExpired:
            if after_s is None:
                os.killpg(process.pid, signal.SIGKILL)
                raise FailedCheckError(f"{' '.join(arguments)} hangs") from None
            os.killpg(process.pid, number)
            sent = True
        try:
            process.wait(QUIET_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise FailedCheckError(f"{' '.join(arguments)} does not end after signal {number}") from None
        errors.seek(0)
        return process.returncode, errors.read(), time.perf_counter() - began, sent


def disturb(job: Job, kind: str, count: int, whole: Content, length_s: float, rng: random.Random) -> Tally:
    """Send `count` signals of a kind, `interrupts` or `kills`; check the folder after each."""
    number = signal.SIGINT if kind == "interrupts" else signal.SIGKILL
    tally, folder = Tally(), Path(tempfile.mkdtemp())
    before = 0
    while tally.disturbed < count:
        again = job.resumes and _was_begun(folder)
        arguments = job.arguments(folder) + (["--resume"] if again else [])
        code, errors, seconds, sent = run(arguments, rng.uniform(0.0, length_s), number)
        if code == 0:
            length_s = min(length_s, seconds)  # a resumed run is shorter
        print(f"{kind} {tally.disturbed}: exit {code}, {_last_line(errors)}", flush=True)
        if sent and code != 0:
            tally.disturbed += 1
            _check_exit(kind, code, errors)
            tally.add_line(_last_line(errors))
        elif code != 0:
            raise FailedCheckError(f"exit code {code} without a disturbance: {errors}")
        tally.after_the_end += sent and code == 0
        before = _check_files(job, folder, before)
        tally.nothing_saved += sent and before == 0
        tally.went_on += again and before > 0
        if code == 0:
            _check_result(job, folder, whole)
            tally.finished_runs += 1
            shutil.rmtree(folder)
            folder, before = Path(tempfile.mkdtemp()), 0
    code, errors, _, _ = run(
        job.arguments(folder) + (["--resume"] if job.resumes and _was_begun(folder) else [])
    )
    if code != 0:
        raise FailedCheckError(f"the last run does not go on: {errors}")
    _check_result(job, folder, whole)
    tally.finished_runs += 1
    shutil.rmtree(folder)
    return tally


def fill_disks(job: Job, count: int, whole: Content, size: int, rng: random.Random) -> Tally:
    """Run on disks with a random part of `size` bytes, that of a finished run, left; then make room and go on."""
    tally = Tally()
    for number in range(count):
        with small_disk(4 * size + (64 << 20)) as disk:
            free = int(rng.uniform(0.0, 1.1) * size)
            ballast = disk / "ballast"
            with ballast.open("wb") as file:
                taken = shutil.disk_usage(disk).free - free
                os.posix_fallocate(file.fileno(), 0, max(1, taken))
            folder = disk / "job"
            code, errors, _, _ = run(job.arguments(folder))
            print(f"disk {number}: {free} bytes, exit {code}, {_last_line(errors)}", flush=True)
            if code != 0:
                tally.disturbed += 1
                _check_exit("full_disks", code, errors)
                tally.add_line(_last_line(errors))
            else:
                tally.after_the_end += 1
            before = _check_files(job, folder, 0)
            if list(folder.rglob(".*.part*")):
                raise FailedCheckError(f"temporary files are left: {list(folder.rglob('.*.part*'))}")
            tally.nothing_saved += before == 0
            ballast.unlink()
            if code != 0:
                again = ["--resume"] if job.resumes and _was_begun(folder) else []
                code, errors, _, _ = run(job.arguments(folder) + again)
                if code != 0:
                    raise FailedCheckError(f"with room again it does not go on: {errors}")
                tally.went_on += before > 0
            _check_result(job, folder, whole)
            tally.finished_runs += 1
    return tally


@contextmanager
def small_disk(size: int) -> Iterator[Path]:
    """A tmpfs of `size` bytes. Raises OSError where it cannot be mounted."""
    folder = Path(tempfile.mkdtemp())
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        raise OSError(f"no tmpfs can be mounted: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()


def _was_begun(folder: Path) -> bool:
    return any(folder.rglob("config.yaml"))


def _last_line(errors: str) -> str:
    return next(iter(reversed(errors.strip().splitlines())), "")


def _check_exit(kind: str, code: int, errors: str) -> None:
    expected = {"interrupts": INTERRUPTED, "kills": -signal.SIGKILL, "full_disks": REJECTED}[kind]
    if code != expected:
        raise FailedCheckError(f"{kind}: exit code {code}, expected {expected}: {errors}")
    for word in ("Traceback", "Fatal", "LLVM ERROR", "Segmentation", "leaked"):
        if word in errors:
            raise FailedCheckError(f"{kind}: {errors}")
    if kind != "kills" and not _last_line(errors).startswith("gigapixel"):
        raise FailedCheckError(f"{kind}: the last line is no sentence of ours: {errors}")


def _check_files(job: Job, folder: Path, before: int) -> int:
    saved = job.saved(folder)
    if saved < before:
        raise FailedCheckError(f"{folder}: {saved} is saved, but {before} was")
    return saved


def _check_result(job: Job, folder: Path, whole: Content) -> None:
    found = job.result(folder)
    differing = [name for name in {**whole, **found} if whole.get(name) != found.get(name)]
    if differing:
        raise FailedCheckError(f"{folder}: {differing[:5]} differ from the undisturbed run")


def measure(name: str, counts: dict[str, int], seed: int) -> dict[str, Any]:
    """All disturbances of one job. Raises FailedCheckError at the first wrong consequence."""
    job, rng = JOBS[name](), random.Random(seed)
    folder = Path(tempfile.mkdtemp())
    code, errors, _, _ = run(job.arguments(folder))
    if code:
        raise ValueError(errors)
    whole = job.result(folder)
    shutil.rmtree(folder)
    _, _, length_s, _ = run(job.arguments(folder))  # with the caches that the first run has filled
    _check_result(job, folder, whole)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    shutil.rmtree(folder)
    report: dict[str, Any] = {
        "job": name,
        "commit": source_commit(),
        "seconds": length_s,
        "bytes": size,
        "seed": seed,
    }
    for kind in ("interrupts", "kills"):
        if counts[kind]:
            report[kind] = vars(disturb(job, kind, counts[kind], whole, length_s, rng))
    if counts["full_disks"]:
        report["full_disks"] = vars(fill_disks(job, counts["full_disks"], whole, size, rng))
    return report


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.crashes", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("job", choices=JOBS)
    parser.add_argument("--interrupts", type=int, default=20)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--full_disks", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args(argv)
    counts = {kind: getattr(given, kind) for kind in ("interrupts", "kills", "full_disks")}
    report = measure(given.job, counts, given.seed)
    print(json.dumps(report, indent=2))
    if given.output:
        write_json(given.output, report)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main, "crashes"))
