"""Ctrl-C and SIGTERM, the same for every command: one line on stderr that says how to go on, exit code 130 or 143.

Python's own way, a KeyboardInterrupt in the main thread, is no help here: it waits until compiled code (XLA, LLVM,
HDF5) returns, it is lost where a library swallows exceptions, and a compiler that it leaves half-way crashes at exit.
But files are written beside their place and renamed, so nothing is lost when a process ends between any two
instructions: a thread waits for signals and ends it at once. Only where results would be lost that no file holds yet
(`StopRequest`) does the first signal wait for them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import TypeVar

from gigapixel.run_folder.atomic import remove_unfinished
from gigapixel.run_folder.exit_codes import INTERRUPTED, TERMINATED, run_command

SIGNALS = {signal.SIGINT: (INTERRUPTED, "interrupted"), signal.SIGTERM: (TERMINATED, "terminated")}
"""Signals that end a command, each with its exit code and what the user is told."""

RUN_AGAIN = "no file is half-written; run the same command again (a run with checkpoints: with --resume)"

Entry = TypeVar("Entry")
Handler = Callable[[int, FrameType | None], object] | int | None

_FLUSH_S = 1.0
"""Time that standard output gets to take what has been printed, before the process ends."""


class StopRequest:
    """What a loop asks between two steps: whether it is to stop, now that the step is complete.

    Attributes:
        unsaved: set by the loop while it holds results of finished steps that would be lost. Only then does a first
            signal wait for the loop; otherwise, and at a second signal, the process ends at once.
        signal_number: the signal that asked the loop to stop; 0 for none.
    """

    def __init__(self, after: str) -> None:
        self.after = after
        self.unsaved = False
        self.signal_number = 0

    def __bool__(self) -> bool:
        return self.signal_number != 0

    def end(self) -> None:
        """End the process as the signal would have done, once everything is saved. Does nothing without a signal."""
        if self.signal_number:
            _end(self.signal_number)

    def take(self, number: int) -> bool:
        """Note a signal; returns whether the loop will see to it."""
        if self.signal_number or not self.unsaved:
            return False
        self.signal_number = number
        _say(f"stopping after {self.after}, to save it; Ctrl-C again stops at once")
        return True


class _State:
    """Of this process."""

    prefix: str | None = None  # of messages; None unless `end_on_signals` has been called
    requests: list[StopRequest] = []
    hints: list[Callable[[], str]] = []
    at_end: list[Callable[[], None]] = []


def run_process(command: Callable[[], int | None], prefix: str) -> int:
    """`run_command` for a process that does nothing else: signals end it, until the command is done.

    After that they are ignored: Python gives them back to the system while it ends, which would then report a process
    killed by a signal although everything has been written.
    """
    end_on_signals(prefix)
    code = run_command(command, prefix)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    return code


def end_on_signals(prefix: str) -> None:
    """From now on Ctrl-C and SIGTERM end this process, with ``prefix: ...`` on stderr. For commands, not for libraries:
    it holds for the rest of the process. Processes that are forked from it take the system's default again."""
    if _State.prefix is not None or threading.current_thread() is not threading.main_thread():
        return
    _State.prefix = prefix
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for each in SIGNALS:
        # Even where a shell that starts a command in the background has made it ignore Ctrl-C: `kill -INT` works.
        signal.signal(each, _left_to_the_thread)
    threading.Thread(target=_wait_for_signals, args=(reader,), name="signals", daemon=True).start()
    os.register_at_fork(after_in_child=_forget)


def end_with_parent() -> None:
    """For processes of a pool, as their initializer: they end when the process that started them does, however it ends
    (a pool's own processes would wait for work for ever), and leave Ctrl-C to it."""
    from multiprocessing import connection, parent_process

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is None:
        return

    def wait() -> None:
        connection.wait([parent.sentinel])
        os._exit(TERMINATED)

    threading.Thread(target=wait, name="parent", daemon=True).start()


@contextmanager
def stop_requests(after: str) -> Iterator[StopRequest]:
    """A loop's `StopRequest` for the time of the block; `after` names what is finished first, such as "this update".

    Outside of commands (a notebook, a test) handlers are set for the time of the block, and where the process would end
    at once a KeyboardInterrupt is raised instead.
    """
    request = StopRequest(after)

    def take_or_raise(number: int, frame: FrameType | None) -> None:
        if not request.take(number):
            raise KeyboardInterrupt

    before: dict[int, Handler] = {}
    try:
        if _State.prefix is None:
            for each in SIGNALS:
                with contextlib.suppress(ValueError):  # only the main thread may set handlers
                    before[each] = signal.signal(each, take_or_raise)
        with _listed(_State.requests, request):
            yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def how_to_go_on(hint: Callable[[], str]) -> AbstractContextManager[None]:
    """Within the block `hint` gives what the user is told to do after an interruption; the outermost block decides."""
    return _listed(_State.hints, hint)


def at_interruption(clean_up: Callable[[], None]) -> AbstractContextManager[None]:
    """Within the block `clean_up` is called before a signal ends the process, in another thread than the main one."""
    return _listed(_State.at_end, clean_up)


@contextmanager
def _listed(entries: list[Entry], entry: Entry) -> Iterator[None]:
    entries.append(entry)
    try:
        yield
    finally:
        entries.remove(entry)


def _hint() -> str:
    """How to go on after an interruption now."""
    if _State.hints:
        with contextlib.suppress(OSError):
            return _State.hints[0]()
    return RUN_AGAIN


def _left_to_the_thread(number: int, frame: FrameType | None) -> None:
    """Python only tells the thread of signals that have a handler, this one or that of a library."""


def _wait_for_signals(reader: int) -> None:
    while True:
        for number in os.read(reader, 64):
            if number in SIGNALS and not (_State.requests and _State.requests[-1].take(number)):
                _end(number)


def _end(number: int) -> None:
    code, word = SIGNALS[signal.Signals(number)]
    if _State.prefix is None:
        raise KeyboardInterrupt
    _say(f"{word}; {_hint()}")
    remove_unfinished()
    for clean_up in reversed(_State.at_end):
        with contextlib.suppress(OSError):
            clean_up()
    flushing = threading.Thread(
        target=_flush, daemon=True
    )  # a reader that has stopped reading must not keep us
    flushing.start()
    flushing.join(_FLUSH_S)
    os._exit(code)


def _say(text: str) -> None:
    """Write a line on stderr past Python's buffer, which the main thread may be holding."""
    if _State.prefix is not None:
        after_a_progress_bar = "\n" if "tqdm" in sys.modules or os.isatty(2) else ""
        with contextlib.suppress(OSError):
            os.write(2, f"{after_a_progress_bar}{_State.prefix}: {text}\n".encode())


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


def _forget() -> None:
    """In a forked process: its signals must not be taken for those of the process that it came from."""
    signal.set_wakeup_fd(-1)
    _State.prefix = None
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
