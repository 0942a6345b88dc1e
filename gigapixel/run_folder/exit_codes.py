"""How every command ends: its exit code, and one line on stderr where its input was rejected."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable

REJECTED = 2
"""Exit code for bad arguments, configs, maps, checkpoints or data."""
INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as shells have it."""
TERMINATED = 143
"""Exit code after SIGTERM, from a batch system or `kill`: 128 + SIGTERM."""
PIPE_CLOSED = 141
"""Exit code where the reader of stdout ended first, as in `gigapixel --help | head -1`: 128 + SIGPIPE."""


def error_message(error: BaseException) -> str:
    """What went wrong, in one line; an `OSError` gives the file's name and the system's reason."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error).strip() or type(error).__name__


def reason_of(error: BaseException) -> str:
    """Type and first line of an error, for the message of a refusal."""
    return f"{type(error).__name__}: {error}".splitlines()[0]


def run_command(command: Callable[[], int | None], prefix: str) -> int:
    """Run a command and return its exit code.

    Bad input (ValueError, OSError) is printed as ``prefix: message`` on stderr and gives REJECTED; a KeyboardInterrupt
    gives INTERRUPTED (see `gigapixel.run_folder.interrupts` for what Ctrl-C does to a command). A closed pipe at stdout
    gives PIPE_CLOSED without a message. Other exceptions are mistakes of ours and keep their traceback, as do all where
    the environment variable GIGAPIXEL_TRACEBACK is set.
    """
    try:
        code = command() or 0
        sys.stdout.flush()  # else a closed pipe is met while Python ends, with a traceback
        return code
    except KeyboardInterrupt:
        print(f"{prefix}: interrupted; a run with checkpoints continues with --resume", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, OSError) as error:
        if isinstance(error, BrokenPipeError) and _stdout_is_closed():
            return PIPE_CLOSED
        if os.environ.get("GIGAPIXEL_TRACEBACK"):
            raise
        print(f"{prefix}: {error_message(error)}", file=sys.stderr)
        return REJECTED


def _stdout_is_closed() -> bool:
    """Whether nobody reads stdout any more; what is still to be written is then thrown away, so that Python ends
    without a message about it."""
    try:
        number = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):  # not a file
        return False
    poll = select.poll()
    poll.register(number, select.POLLOUT)
    closed = any(events & select.POLLERR for _, events in poll.poll(0))
    if closed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    return closed
