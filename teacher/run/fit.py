"""The training loop on the host: run folder, checkpoints, exact resume, and clean interruption.

The loop calls the jitted update of `teacher.ppo.update` and logs the metrics that it returns.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax

from gigapixel.run_folder.atomic import write_json, write_text
from gigapixel.run_folder.checkpoint_files import CHECKPOINTS, newest_readable, remove_temporaries, set_aside
from gigapixel.run_folder.config.changed_settings import refuse_changed
from gigapixel.run_folder.interrupts import stop_requests
from gigapixel.run_folder.lock import claimed
from gigapixel.run_folder.metadata import JAX_PACKAGES, run_metadata, source_commit
from gigapixel.run_folder.table import write_table
from teacher.config import TeacherConfig, load_config, to_dict, to_yaml
from teacher.network.actor_critic import TeacherNetwork
from teacher.policy import save_policy, weights_from
from teacher.ppo.environment import Environment
from teacher.ppo.finite_checks import first_not_finite
from teacher.ppo.log_environment import ended
from teacher.ppo.multihost import any_of, barrier, distribute, gather, is_first
from teacher.ppo.scene_source import SceneSource, open_source
from teacher.ppo.sharding import replicated, training_mesh
from teacher.ppo.update import TrainState, agent_steps, init_state, make_update, state_shardings, with_weights
from teacher.pretraining.pretrain import pretrain
from teacher.run.checkpoint import list_checkpoints, load_checkpoint, read_progress, save_checkpoint
from teacher.run.metrics_log import MetricsLog

_log = logging.getLogger(__name__)

CHANGEABLE = ("name", "output", "total_agent_steps", "checkpoint_every", "keep_checkpoints")
"""Fields that a resumed run may change: they do not affect the state of the training."""

PRETRAIN_STREAM = 1
"""Folded into the key of the seed, so that pre-training and PPO use independent random numbers."""

Row = dict[str, float]
Report = Callable[[Row], None]


@dataclass(frozen=True)
class Finish:
    """The end of a session."""

    folder: Path
    updates: int
    agent_steps: int
    signal_number: int = 0  # of Ctrl-C or SIGTERM, which stopped it after saving a checkpoint; 0 for none

    @property
    def interrupted(self) -> bool:
        """Whether a signal stopped the session."""
        return self.signal_number != 0


@dataclass
class Progress:
    """Counters of a run, kept on the host and in every checkpoint."""

    update: int = 0
    agent_steps: int = 0
    wall_s: float = 0.0
    position: int = 0  # of the current batch of scenes in its data source; see `teacher.ppo.scene_source`


def fit(
    config: TeacherConfig,
    resume: bool = False,
    stop_at_update: int | None = None,
    report: Report = lambda row: None,
    stop_after_s: float | None = None,
) -> Finish:
    """Train until `total_agent_steps`, `stop_at_update` or `stop_after_s` is reached, or until interrupted.

    `stop_after_s` counts seconds of updates, without the first update of the session, which compiles. A resumed run
    continues exactly from its newest checkpoint, or from the one before where that is damaged. `report` is called with
    the row of metrics of each update. Raises ValueError for a folder that another process uses or that already holds a
    run (without `resume`), and for a changed configuration (with); no file of the run is changed then.
    """
    folder = config.folder
    with ExitStack() as stack:
        check = partial(_check_folder, config, resume)
        if is_first():
            stack.enter_context(claimed(folder, check))
        else:
            check()
        newest, progress, damaged = None, dict[str, Any](), list[Path]()
        checkpoints = list_checkpoints(folder / CHECKPOINTS)
        if checkpoints:
            newest, progress, damaged = newest_readable(checkpoints[::-1], read_progress)
        environment, source = open_source(config, progress.get("position", 0))
        stack.callback(source.close)
        barrier("every process has looked at the folder")
        if is_first():
            set_aside(damaged)
            remove_temporaries(folder)
            write_text(folder / "config.yaml", to_yaml(config))
            write_json(folder / "metadata.json", jax_metadata(config.seed))
        return Run(config, environment, source, newest, report).train(stop_at_update, stop_after_s)


def jax_metadata(seed: int) -> dict[str, Any]:
    """Content of metadata.json for the first JAX device: commit, versions, device and seed."""
    device = jax.devices()[0]
    return run_metadata(f"{device.platform} {device.device_kind}", seed, JAX_PACKAGES)


def _check_folder(config: TeacherConfig, resume: bool) -> None:
    folder = config.folder
    has_checkpoint = bool(list_checkpoints(folder / CHECKPOINTS))
    if not resume and has_checkpoint:
        raise ValueError(f"{folder} already holds a run; continue it with --resume or choose another --name")
    if resume and not has_checkpoint:
        _log.warning("%s holds no checkpoint: the run starts from the beginning", folder)
    if resume and has_checkpoint:
        path = folder / "config.yaml"
        refuse_changed(to_dict(load_config(path)), to_dict(config), CHANGEABLE, path, "--name")


class Run:
    """One session of a run: from its start, or its newest checkpoint, to its end.

    Args:
        config: the configuration; its simulator, observation and reward are already inside `environment`.
        environment, source: the worlds, and the arrays that they share, batch by batch.
        checkpoint: the file to resume from; None starts a new run.
        report: called with the row of metrics of each update.
    """

    def __init__(
        self,
        config: TeacherConfig,
        environment: Environment,
        source: SceneSource,
        checkpoint: Path | None,
        report: Report = lambda row: None,
    ) -> None:
        mesh = training_mesh(config.num_shards)
        self._config, self._report = config, report
        self._source, self._whole = source, replicated(mesh)
        self._data = distribute(source.next(), self._whole)
        self._commit = source_commit()
        network = TeacherNetwork(config.network, environment.num_actions)
        self._update = make_update(
            environment, network, config.ppo, config.total_agent_steps, config.num_shards, mesh
        )
        self.progress = Progress()

        def start() -> TrainState:
            return init_state(environment, network, config.ppo, self._data, config.seed, mesh)

        if checkpoint is None:
            self.state = self._initial_weights(start(), network)
        else:
            loaded, progress = load_checkpoint(checkpoint, jax.eval_shape(start))
            self.state = distribute(loaded, state_shardings(config.ppo, mesh))
            self.progress = Progress(**progress)

    def _initial_weights(self, state: TrainState, network: TeacherNetwork) -> TrainState:
        """The first state with the weights of `start_from`, and pre-trained, where the configuration asks for it."""
        config = self._config
        if config.start_from:
            state = with_weights(state, weights_from(config.start_from, state.params), self._whole)
        if config.pretrain.packs:
            rows: list[Row] = []
            key = jax.random.fold_in(jax.random.key(config.seed), PRETRAIN_STREAM)
            params = gather(state.params, self._whole)
            params = pretrain(params, network, config.pretrain, config, key, rows.append)
            if is_first():
                write_table(config.folder / "pretrain.csv", rows)
            state = with_weights(state, params, self._whole)
        return state

    def train(self, stop_at_update: int | None = None, stop_after_s: float | None = None) -> Finish:
        """Update until a limit of `fit` is reached or until interrupted; then save. Raises ValueError for NaN."""
        config, progress = self._config, self.progress
        config.folder.mkdir(parents=True, exist_ok=True)
        log = MetricsLog(config.folder, progress.update, progress.agent_steps) if is_first() else None
        if progress.update == 0:
            self._save(log)
        saved = progress.update
        until_s = math.inf
        try:
            # An update reuses the buffers of its input state, so that a signal can stop a session only between two.
            with stop_requests("this update") as stop:
                together = jax.process_count() > 1  # they wait for each other, so all stop at one update
                stop.unsaved = together
                while not (
                    any_of(bool(stop) or progress.wall_s >= until_s)
                    or progress.agent_steps >= config.total_agent_steps
                    or (stop_at_update is not None and progress.update >= stop_at_update)
                ):
                    row = self._advance()
                    stop.unsaved = True
                    if stop_after_s is not None and math.isinf(until_s):
                        until_s = progress.wall_s + stop_after_s
                    if log:
                        log.write(row)
                    self._report(row)
                    if progress.update % config.checkpoint_every == 0:
                        self._save(log)
                        saved = progress.update
                        stop.unsaved = together
                if saved != progress.update:
                    self._save(log)
                return Finish(config.folder, progress.update, progress.agent_steps, stop.signal_number)
        finally:
            if log:
                log.close()

    def _advance(self) -> Row:
        """Run one update and return its row of metrics. Raises ValueError where a tensor is not finite."""
        began = time.perf_counter()
        progress = self.progress
        if self._source.is_due(progress.update):  # the next batch of scenes; episodes in the old one end
            self._data = distribute(self._source.next(), self._whole)
            self.state = self.state.replace(worlds=ended(self.state.worlds))
            progress.position = self._source.position
        self.state, metrics = self._update(self.state, self._data)
        metrics = jax.device_get(metrics)
        not_finite = first_not_finite(metrics.pop("finite"))
        if not_finite:
            raise ValueError(
                f"update {progress.update + 1}: {not_finite} is the first tensor with a number that is not finite, so "
                f"the run stops; the newest checkpoint in {self._config.folder / 'checkpoints'} is good: --resume "
                "continues from there, a new run may try a lower ppo.learning_rate"
            )
        values = {name: float(value) for name, value in metrics.items()}
        wall_s = time.perf_counter() - began
        collected = values.pop("agent_steps")
        progress.update += 1
        progress.agent_steps = agent_steps(jax.device_get(self.state.experience))
        progress.wall_s += wall_s
        row: Row = {
            "update": progress.update,
            "agent_steps": progress.agent_steps,
            "wall_s": round(progress.wall_s, 3),
        }
        row["teacher/agent_steps_per_s"] = round(collected / wall_s, 1)
        return row | {f"teacher/{name}": value for name, value in values.items()}

    def _save(self, log: MetricsLog | None) -> None:
        config, progress = self._config, self.progress
        state = gather(self.state, self._whole)
        if log is None:
            return
        log.flush()  # the rows must be on the disk before the checkpoint that counts them
        save_policy(config.folder / "policy.h5", state.params, config, self._commit, progress.agent_steps)
        save_checkpoint(
            config.folder / CHECKPOINTS,
            state,
            progress.update,
            dict(vars(progress)),
            config.keep_checkpoints,
        )
