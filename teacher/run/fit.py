"""A training run on the host: the run folder, checkpoints, exact resume, and stopping in good order.

The loop only calls the jitted update of `train.py` and writes down what it returns.
"""

from __future__ import annotations

import logging
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from teacher.config import TeacherConfig, first_difference, load_config, to_yaml
from teacher.network.actor_critic import TeacherNetwork
from teacher.policy import save_policy, weights_from
from teacher.ppo.environment import Environment
from teacher.ppo.finite_checks import first_broken
from teacher.ppo.log_environment import retired
from teacher.ppo.multihost import any_of, collect, is_first, meet, spread
from teacher.ppo.scene_source import Source, open_source
from teacher.ppo.sharding import training_mesh, whole
from teacher.ppo.update import TrainState, agent_steps, init_state, make_update, state_places, with_weights
from teacher.pretraining.pretrain import pretrain
from teacher.run.checkpoint import list_checkpoints, load_checkpoint, read_progress, save_checkpoint
from teacher.run.run_folder import (
    MetricsLog,
    run_metadata,
    source_commit,
    write_json,
    write_table,
    write_text,
)

_log = logging.getLogger(__name__)

CHANGEABLE = ("name", "output", "total_agent_steps", "checkpoint_every", "keep_checkpoints")
"""Fields that a resumed run may change: they do not touch what has been learnt so far."""

PRETRAIN_STREAM = 1
"""Folded into the seed's key, so that pre-training draws other numbers than the run."""

Row = dict[str, float]
Report = Callable[[Row], None]


@dataclass(frozen=True)
class Finish:
    """How a run ended."""

    folder: Path
    updates: int
    agent_steps: int
    interrupted: bool  # by Ctrl-C or SIGTERM, after saving a checkpoint


@dataclass
class Progress:
    """Where a run stands, kept on the host and in every checkpoint."""

    update: int = 0
    agent_steps: int = 0
    wall_s: float = 0.0
    position: int = 0  # where the present batch of worlds begins; see `teacher.ppo.scene_source`


def fit(
    config: TeacherConfig,
    resume: bool = False,
    stop_at_update: int | None = None,
    report: Report = lambda row: None,
    stop_after_s: float | None = None,
) -> Finish:
    """Train until `total_agent_steps` of experience, until `stop_at_update` or `stop_after_s`, or until interrupted.

    `stop_after_s` counts seconds of updates, without the first of this life of the run, which compiles. A resumed run
    goes on exactly where its newest checkpoint stands. `report` gets each update's row of metrics.
    Raises ValueError for a folder that already holds a run (without `resume`) and for a changed configuration (with).
    """
    folder = config.folder
    checkpoints = list_checkpoints(folder / "checkpoints")
    _check_folder(config, resume, bool(checkpoints))
    newest = checkpoints[-1] if checkpoints else None
    environment, source = open_source(config, read_progress(newest).get("position", 0) if newest else 0)
    try:
        meet("every process has looked at the folder")
        if is_first():
            write_text(folder / "config.yaml", to_yaml(config))
            write_json(folder / "metadata.json", run_metadata(config.seed))
        return Run(config, environment, source, newest, report).train(stop_at_update, stop_after_s)
    finally:
        source.close()


def _check_folder(config: TeacherConfig, resume: bool, begun: bool) -> None:
    folder = config.folder
    if not resume and begun:
        raise ValueError(f"{folder} already holds a run; go on with --resume or choose another --name")
    if resume and not begun:
        _log.warning("%s holds no checkpoint: the run starts from the beginning", folder)
    if resume and begun:
        difference = first_difference(load_config(folder / "config.yaml"), config, CHANGEABLE)
        if difference:
            raise ValueError(
                f"{folder / 'config.yaml'} differs from the configuration to resume with: {difference}; resume with "
                "the run's own configuration or choose another --name"
            )


class Run:
    """One life of a run, from its first or newest checkpoint to its end.

    Args:
        config: the configuration; its simulator, observation and reward are already inside `environment`.
        environment, source: the worlds and the arrays they share, batch by batch.
        checkpoint: where to go on from; None starts anew.
        report: gets each update's row of metrics.
    """

    def __init__(
        self,
        config: TeacherConfig,
        environment: Environment,
        source: Source,
        checkpoint: Path | None,
        report: Report = lambda row: None,
    ) -> None:
        mesh = training_mesh(config.num_shards)
        self._config, self._report = config, report
        self._source, self._whole = source, whole(mesh)
        self._data = spread(source.next(), self._whole)
        self._commit = source_commit()
        network = TeacherNetwork(config.network, environment.num_actions)
        self._update = make_update(
            environment, network, config.ppo, config.total_agent_steps, config.num_shards, mesh
        )
        self.progress = Progress()

        def start() -> TrainState:
            return init_state(environment, network, config.ppo, self._data, config.seed, mesh)

        if checkpoint is None:
            self.state = self._pretrained(self._begun(start()), network)
        else:
            loaded, progress = load_checkpoint(checkpoint, jax.eval_shape(start))
            self.state = spread(loaded, state_places(config.ppo, mesh))
            self.progress = Progress(**progress)

    def _begun(self, state: TrainState) -> TrainState:
        """The first state, with the weights of another run where the configuration names one."""
        if not self._config.start_from:
            return state
        return with_weights(state, weights_from(self._config.start_from, state.params), self._whole)

    def _pretrained(self, state: TrainState, network: TeacherNetwork) -> TrainState:
        """The first state, its weights pre-trained where the configuration asks for it."""
        if not self._config.pretrain.packs:
            return state
        rows: list[Row] = []
        key = jax.random.fold_in(jax.random.key(self._config.seed), PRETRAIN_STREAM)
        params = collect(state.params, self._whole)
        params = pretrain(params, network, self._config.pretrain, self._config, key, rows.append)
        if is_first():
            write_table(self._config.folder / "pretrain.csv", rows)
        return with_weights(state, params, self._whole)

    def _next_batch(self) -> None:
        """Take the next batch, where one is due; episodes in the old one are over."""
        if self._source.is_due(self.progress.update):
            self._data = spread(self._source.next(), self._whole)
            self.state = self.state.replace(worlds=retired(self.state.worlds))
            self.progress.position = self._source.position

    def train(self, stop_at_update: int | None = None, stop_after_s: float | None = None) -> Finish:
        """Update until the budget is spent, a limit of `fit` is reached, or until interrupted; then save."""
        config, progress = self._config, self.progress
        config.folder.mkdir(parents=True, exist_ok=True)
        log = MetricsLog(config.folder, progress.update, progress.agent_steps) if is_first() else None
        if progress.update == 0:
            self._save(log)
        saved = progress.update
        until_s = math.inf
        try:
            with interruptions() as interrupted:
                while not (
                    any_of(interrupted() or progress.wall_s >= until_s) or self._finished(stop_at_update)
                ):
                    row = self._advance()
                    if stop_after_s is not None and math.isinf(until_s):
                        until_s = progress.wall_s + stop_after_s
                    if log:
                        log.write(row)
                    self._report(row)
                    if progress.update % config.checkpoint_every == 0:
                        self._save(log)
                        saved = progress.update
                if saved != progress.update:
                    self._save(log)
                return Finish(config.folder, progress.update, progress.agent_steps, interrupted())
        finally:
            if log:
                log.close()

    def _finished(self, stop_at_update: int | None) -> bool:
        done = self.progress.agent_steps >= self._config.total_agent_steps
        return done or (stop_at_update is not None and self.progress.update >= stop_at_update)

    def _advance(self) -> Row:
        began = time.perf_counter()
        self._next_batch()
        self.state, metrics = self._update(self.state, self._data)
        metrics = jax.device_get(metrics)
        self._refuse_broken(metrics.pop("finite"))
        values = {name: float(value) for name, value in metrics.items()}
        wall_s = time.perf_counter() - began
        gathered = values.pop("agent_steps")
        progress = self.progress
        progress.update += 1
        progress.agent_steps = agent_steps(jax.device_get(self.state.experience))
        progress.wall_s += wall_s
        row: Row = {
            "update": progress.update,
            "agent_steps": progress.agent_steps,
            "wall_s": round(progress.wall_s, 3),
        }
        row["teacher/agent_steps_per_s"] = round(gathered / wall_s, 1)
        return row | {f"teacher/{name}": value for name, value in values.items()}

    def _refuse_broken(self, finite: dict[str, Any]) -> None:
        """Stop before a broken state is saved."""
        broken = first_broken(finite)
        if broken:
            raise ValueError(
                f"update {self.progress.update + 1}: {broken} is the first tensor with a number that is not "
                f"finite, so the run stops; the newest checkpoint in {self._config.folder / 'checkpoints'} is good: "
                "--resume goes on from there, a new run may try a lower ppo.learning_rate"
            )

    def _save(self, log: MetricsLog | None) -> None:
        config, progress = self._config, self.progress
        state = collect(self.state, self._whole)
        if log is None:
            return
        log.flush()  # first the rows, then the checkpoint that says they exist
        save_policy(config.folder / "policy.h5", state.params, config, self._commit, progress.agent_steps)
        save_checkpoint(
            config.folder / "checkpoints",
            state,
            progress.update,
            dict(vars(progress)),
            config.keep_checkpoints,
        )


@contextmanager
def interruptions() -> Iterator[Callable[[], bool]]:
    """Within it, the first Ctrl-C (or SIGTERM) only sets a flag, which the function given back reads.

    An update cannot be stopped half-way, because it reuses the buffers of the state it was given. A second Ctrl-C
    stops the program at once.
    """
    caught: list[int] = []

    def remember(number: int, frame: Any) -> None:
        if caught and number == signal.SIGINT:
            raise KeyboardInterrupt
        caught.append(number)

    before = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            before[number] = signal.signal(number, remember)
        except ValueError:  # only the main thread may set handlers; elsewhere the run is not interruptible
            break
    try:
        yield lambda: bool(caught)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
