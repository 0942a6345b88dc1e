"""TensorBoard events of a run that must not load torch.

Both public writers, torch.utils.tensorboard.SummaryWriter and tensorboardX.SummaryWriter, import torch where it is
installed; they, and Lightning's `TensorBoardLogger`, write from a thread, which prints a traceback where the disk is
full. So this file uses the record writer of TensorBoard that they are built on, and is the only one to do so.
"""

from __future__ import annotations

import itertools
import math
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from gigapixel.run_folder.atomic import naming_the_file

_number = itertools.count()


class EventLog:
    """Appends scalars to an event file of its own, events.out.tfevents.*.

    Args:
        folder: the run folder.
        purge_step: the first step that a resumed run writes again: readers forget what earlier sessions wrote at this
            step and later, as with `SummaryWriter(purge_step=...)`. None for a new run.
    """

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        source = f"{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(_number)}"
        self._path = folder / f"events.out.tfevents.{source}"
        self._file = self._path.open("wb")
        self._records = RecordWriter(self._file)
        self._append(Event(wall_time=time.time(), file_version="brain.Event:2"))
        if purge_step is not None:
            start = SessionLog(status=SessionLog.START)
            self._append(Event(wall_time=time.time(), step=purge_step, session_log=start))

    def write(self, scalars: Mapping[str, float], step: int) -> None:
        """Append the scalars of one step; NaN is left out."""
        values = [
            Summary.Value(tag=name, simple_value=value)
            for name, value in scalars.items()
            if not math.isnan(value)
        ]
        self._append(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def close(self) -> None:
        """Close the file."""
        with naming_the_file(self._path):
            self._file.close()

    def _append(self, event: Event) -> None:
        """Write one event; it is in the operating system's hands when this returns. Raises OSError naming the file."""
        with naming_the_file(self._path):
            self._records.write(event.SerializeToString())
            self._file.flush()
