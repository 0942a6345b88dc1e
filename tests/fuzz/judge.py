"""What a reader may make of a damaged file: a result that can be used, or one sentence that names the file.

Every other exception is a fault, and so is more than a minute, more than 2 GB, or a warning of NumPy's.
"""

from __future__ import annotations

import contextlib
import re
import resource
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

LIMIT_S = 60
LIMIT_BYTES = 2 * 2**30
LONGEST_SENTENCE = 800
_OURS_ALONE = ("MemoryError", "Unable to allocate", "Type-check error", "OutOfTimeError", "Warning:")
"""Words in a refusal that show that a limit of these tests, or a check of types that only tests make, was refused."""
_LAST_RESORT = ("expected a log of this format", "expected an OpenDRIVE description")
"""What readers say of an exception that no line of theirs expects: the fault is told to users, and found here."""


class OutOfTimeError(BaseException):
    """A reader took longer than LIMIT_S; no `except Exception` may take it for a fault of the file."""


class Judge:
    """Runs a reader on one mutant after the other, and counts what became of them."""

    def __init__(self) -> None:
        self.accepted = self.refused = 0
        self.longest_s = 0.0
        self.peak_mib = 0

    @property
    def mutants(self) -> int:
        """Number of mutants so far."""
        return self.accepted + self.refused

    def __call__(self, read: Callable[[], object], file: Path) -> bool:
        """Whether `read` accepts the mutant `file`. Raises AssertionError for a refusal that is no sentence and for a
        warning, and lets other faults of the reader pass as they are."""
        before, began = _memory("VmRSS", reset_peak=True), time.perf_counter()
        refusal = None
        with warnings.catch_warnings(record=True) as said, _limits():
            warnings.simplefilter("always")
            try:
                read()
            except (ValueError, OSError) as error:
                refusal = error
        self.longest_s = round(max(self.longest_s, time.perf_counter() - began), 1)
        self.peak_mib = max(self.peak_mib, _memory("VmHWM") - before)
        for warning in said:
            if issubclass(warning.category, RuntimeWarning):
                raise AssertionError(f"{warning.filename}:{warning.lineno}: {warning.message}") from refusal
        if refusal is None:
            self.accepted += 1
        else:
            self.refused += 1
            _check_sentence(refusal, file)
        return refusal is None


def _check_sentence(refusal: Exception, file: Path) -> None:
    text = str(refusal)
    named = file.name in text or getattr(refusal, "filename", None) == str(file)
    fault = (
        "does not name the file" if not named
        else "has several lines" if "\n" in text
        else "is too long" if len(text) > LONGEST_SENTENCE
        else next((f"tells of a {word}" for word in (*_OURS_ALONE, *_LAST_RESORT) if word in text), None)
    )  # fmt: skip
    if fault:
        raise AssertionError(f"the refusal {fault}: {text[:2000]}") from refusal


@contextlib.contextmanager
def _limits() -> Iterator[None]:
    """OutOfTimeError after LIMIT_S, MemoryError beyond LIMIT_BYTES more than there are now."""

    def end(*_: object) -> None:
        raise OutOfTimeError(f"{LIMIT_S} s")

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    held = _memory("VmData") * 2**20
    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(LIMIT_S)
    if held:
        resource.setrlimit(resource.RLIMIT_DATA, (held + LIMIT_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _memory(which: str, reset_peak: bool = False) -> int:
    """A line of /proc/self/status, MiB; 0 where the system has none."""
    with contextlib.suppress(OSError):
        if reset_peak:
            Path("/proc/self/clear_refs").write_text("5")
        found = re.search(rf"{which}:\s+(\d+) kB", Path("/proc/self/status").read_text())
        return int(found[1]) // 1024 if found else 0
    return 0
