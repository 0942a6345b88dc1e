"""TensorBoard events of a run that must not load torch.

Both public writers, torch.utils.tensorboard.SummaryWriter and tensorboardX.SummaryWriter, import torch where it is
installed. So this file uses the event writer of TensorBoard that torch's SummaryWriter is built on, and is the only
one to do so. The student and adaptation use Lightning's `TensorBoardLogger`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter


class EventLog:
    """Appends scalars to an event file of its own, events.out.tfevents.*.

    Args:
        folder: the run folder.
        purge_step: the first step that a resumed run writes again: readers forget what earlier sessions wrote at this
            step and later, as with `SummaryWriter(purge_step=...)`. None for a new run.
    """

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        self._writer = EventFileWriter(str(folder))
        if purge_step is not None:
            start = SessionLog(status=SessionLog.START)
            self._writer.add_event(Event(wall_time=time.time(), step=purge_step, session_log=start))

    def write(self, scalars: Mapping[str, float], step: int) -> None:
        """Append the scalars of one step; NaN is left out."""
        values = [
            Summary.Value(tag=name, simple_value=value)
            for name, value in scalars.items()
            if not math.isnan(value)
        ]
        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def flush(self) -> None:
        """Hand everything to the operating system."""
        self._writer.flush()

    def close(self) -> None:
        """Flush and close the file."""
        self._writer.close()
