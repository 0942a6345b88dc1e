"""`gigapixel demo --output DIR`: the whole pipeline at a small scale, on the CPU, with a report in HTML.

1. The shipped teacher drives in a town that is in no training set.
2. An untrained student drives the same episodes from four camera images.
3. The student is trained by a few minutes of self-play DAgger in other towns and drives the same episodes again.
4. Its perception is adapted to a surrogate domain that stands in for real cameras (our renderer with shifted
   appearance), and it drives once more from surrogate images only, before and after. With GIGAPIXEL_DATA set, the
   report shows real frames as well.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gigapixel.run_folder.outputs import check_output_folder

if TYPE_CHECKING:
    from adaptation.pairs.pair import Pair
    from student.dagger.closed_loop import Episode
    from student.network.policy import StudentPolicy
    from student.world.pixel_world import PixelWorld

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DemoConfig:
    """Size of every part of the demo.

    Attributes:
        train_maps: Towns that the student is trained in; the shipped teacher was trained in them as well.
        test_map: Town that neither was trained in.
        num_worlds, num_agents: Number of worlds for training, and of agents in each.
        epochs: DAgger rounds; each drives ``decisions`` plans in every world and takes ``batches`` gradient steps.
        beta_share: Share of the expected environment steps after which the student drives alone.
        test_worlds, test_seconds: Number and length of the closed-loop episodes, the same for all drivers.
        adaptation_epochs: Passes over the surrogate pairs.
        batch_size, learning_rate: Batch size and learning rate of DAgger.
        adaptation_pairs: Number of surrogate pairs, including those held out.
        film_seconds: Length of the filmstrip.
    """

    train_maps: tuple[str, ...] = ("Town01", "Town02", "Town03", "Town05")
    test_map: str = "Town10HD"
    num_worlds: int = 12
    num_agents: int = 16
    epochs: int = 30
    decisions: int = 8
    batches: int = 40
    batch_size: int = 128
    learning_rate: float = 1.5e-3
    beta_share: float = 0.5
    test_worlds: int = 6
    test_seconds: float = 30.0
    adaptation_epochs: int = 12
    adaptation_pairs: int = 640
    film_seconds: float = 12.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, (int, float)) and not value > 0:
                raise ValueError(f"demo {field.name}={value} must be above 0")
        if self.num_worlds < 2:
            raise ValueError(
                f"demo num_worlds={self.num_worlds} must be at least 2: one is held out of the adaptation"
            )


def main(argv: Sequence[str]) -> int:
    """Run the demo and write its report."""
    config, output, seed = parse_demo_arguments(argv)
    check_output_folder("--output", output)
    run_demo(config, output, seed)
    return 0


def parse_demo_arguments(argv: Sequence[str]) -> tuple[DemoConfig, Path, int]:
    """Configuration, output folder and seed. Raises ValueError for invalid arguments."""
    from jsonargparse import ArgumentParser

    from gigapixel.run_folder.config.command_line import parse_config_arguments

    parser = ArgumentParser(prog="gigapixel demo", description=__doc__, exit_on_error=False)
    parser.add_argument("--config", action="config", help="YAML file with any of the fields below")
    parser.add_argument("--output", type=str, required=True, metavar="DIR", help="folder of the report")
    parser.add_argument("--seed", type=int, default=0, help="seed of worlds, weights and batches")
    parser.add_class_arguments(DemoConfig)
    values = parse_config_arguments(parser, argv).as_dict()
    output, seed = Path(values.pop("output")), values.pop("seed")
    values.pop("config")
    return DemoConfig(**values), output, seed


def run_demo(config: DemoConfig, output: Path, seed: int) -> dict[str, Any]:
    """Run all parts of the demo; returns the content of summary.json."""
    import torch

    from gigapixel.report import write_report
    from gigapixel.run_folder.atomic import write_json
    from student.checkpoint import save_policy
    from student.run.logger import torch_metadata

    warnings.filterwarnings("ignore", module="lightning")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.manual_seed(seed)
    output.mkdir(parents=True, exist_ok=True)
    stopwatch = Stopwatch()
    print_progress("importing towns and compiling the simulator")
    data, module = build_student(config, seed)
    episode = data.episode(data.test_config)
    summary: dict[str, Any] = {"teacher": evaluate_driver(episode, None, "teacher")}
    summary["student_before"] = evaluate_driver(episode, module.policy, "untrained student")
    stopwatch.lap("evaluation_before")

    train_student(config, data, module, output / "student")
    save_policy(module.policy, output / "student" / "policy.pt")
    stopwatch.lap("dagger")
    summary["student_after"] = evaluate_driver(episode, module.policy, "student after DAgger")
    stopwatch.lap("evaluation_after")

    summary["adaptation"], pairs = adapt_perception(config, data, module.policy, episode, seed)
    stopwatch.lap("adaptation")
    draw_report_pictures(config, output, episode.world, module.policy, pairs, seed)
    stopwatch.lap("pictures")
    summary |= {
        "config": asdict(config),
        **torch_metadata("cpu", seed),
        "wall_s_by_part": stopwatch.laps,
        "wall_s": stopwatch.total(),
    }
    write_json(output / "summary.json", summary)
    write_report(output, summary)
    print_progress(f"done in {summary['wall_s']:.0f} s: open {output / 'report.html'}")
    return summary


def build_student(config: DemoConfig, seed: int) -> tuple[Any, Any]:
    """Data module and Lightning module of the student, with random weights."""
    from student.dagger.closed_loop import ClosedLoopConfig
    from student.dagger.data import OnPolicyData
    from student.module import OptimiserConfig, StudentModule
    from student.network.policy import PolicyConfig
    from student.world.config import PixelWorldConfig
    from teacher.policy import load_policy

    test = ClosedLoopConfig((config.test_map,), config.test_worlds, config.test_seconds, label_every=0)
    world = PixelWorldConfig(
        maps=config.train_maps, num_worlds=config.num_worlds, num_agents=config.num_agents
    )
    steps_per_decision = round(world.plan_s / load_policy(world.teacher).plain_simulator.timestep_s)
    agent_steps = (
        config.epochs * config.decisions * steps_per_decision * config.num_worlds * config.num_agents
    )
    data = OnPolicyData(
        world=world,
        validation=test,
        test=test,
        beta_steps=max(1, round(config.beta_share * agent_steps)),
        decisions_per_epoch=config.decisions,
        batches_per_epoch=config.batches,
        batch_size=config.batch_size,
        seed=seed,
    )
    module = StudentModule(
        PolicyConfig(), optimiser=OptimiserConfig(learning_rate=config.learning_rate, warmup_steps=20)
    )
    return data, module


def evaluate_driver(episode: Episode, policy: StudentPolicy | None, driver: str) -> dict[str, float | None]:
    """Closed-loop metrics of a policy (None: the teacher) in the test episodes; `driver` is its name in the log."""
    print_progress(f"{driver} drives {episode.config.maps[0]}")
    metrics = episode.drive(policy)
    print_progress(
        f"  driving score {metrics['driving_score']:.2f}, goals reached {metrics['goal_rate']:.2f}"
    )
    return metrics


def train_student(config: DemoConfig, data: Any, module: Any, folder: Path) -> None:
    """Self-play DAgger; the training metrics are written to ``folder``/metrics.csv."""
    import lightning

    from student.run.logger import MetricsCsv

    print_progress(f"DAgger in {', '.join(config.train_maps)}: {config.epochs} rounds")
    (folder / "metrics.csv").unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=config.epochs,
        logger=MetricsCsv(str(folder)),
        log_every_n_steps=max(1, min(10, config.batches)),
        limit_val_batches=0,
        enable_checkpointing=False,
        enable_model_summary=False,
        gradient_clip_val=1.0,
        default_root_dir=folder,
    )
    trainer.fit(module, datamodule=data)


def adapt_perception(
    config: DemoConfig, data: Any, policy: StudentPolicy, episode: Episode, seed: int
) -> tuple[dict[str, Any], list[Pair]]:
    """Adapt perception to the surrogate domain.

    Returns the closed-loop metrics with surrogate images before and after, and the held-out pairs.
    """
    import lightning

    from adaptation.data import AdaptationData
    from adaptation.module import AdaptationModule
    from gigapixel.surrogate_driver import SurrogateDriver
    from student.module import OptimiserConfig

    print_progress("adapting perception to the stand-in for real cameras")
    training, held_out = collect_surrogate_pairs(data, config.adaptation_pairs, seed)
    pairs = AdaptationData(
        source="stand_in",
        batch_size=32,
        pairs_per_epoch=len(training),
        scene_balance=0.0,
        validation_share=0.0,
    ).use(training, held_out)
    module = AdaptationModule(policy, optimiser=OptimiserConfig(learning_rate=1e-3, warmup_steps=10))
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=config.adaptation_epochs,
        logger=False,
        limit_val_batches=0,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    trainer.fit(module, datamodule=pairs)
    trainer.test(module, datamodule=pairs, verbose=False)
    errors = module.test_errors
    unadapted = evaluate_driver(episode, SurrogateDriver(policy), "unadapted student, seeing the stand-in,")
    adapted = evaluate_driver(
        episode, SurrogateDriver(module.adapted), "adapted student, seeing the stand-in,"
    )
    unadapted["trajectory_error_m"] = sum(row.unadapted_m for row in errors) / len(errors)
    adapted["trajectory_error_m"] = sum(row.adapted_m for row in errors) / len(errors)
    return {"domain": "stand-in", "unadapted": unadapted, "adapted": adapted}, held_out


def collect_surrogate_pairs(data: Any, count: int, seed: int) -> tuple[list[Pair], list[Pair]]:
    """At least `count` pairs from the training worlds, driven by the teacher; those of the last world are held out."""
    from adaptation.surrogate import pairs_of_observation

    world: PixelWorld = data.world
    world.reset(seed + 1)
    world.assign_teacher(1.0)
    pairs: list[Pair] = []
    agents = world.config.num_agents
    while len(pairs) < count:
        observation = world.observe()
        worlds = (world.ego_agents // agents).tolist()
        names = [world.map_set.road_maps[town].name for town in world.state.map_id.tolist()]
        scenes = [f"stand-in/{names[index]}/{index}" for index in worlds]
        pairs += pairs_of_observation(observation, scenes)
        for _ in range(4):  # two seconds, so that the images differ
            world.follow(None)
        world.reset_finished()
    last = f"/{world.config.num_worlds - 1}"
    held_out = [pair for pair in pairs if pair.scene.endswith(last)]
    return [pair for pair in pairs if not pair.scene.endswith(last)], held_out


def draw_report_pictures(
    config: DemoConfig, output: Path, world: PixelWorld, policy: StudentPolicy, pairs: list[Pair], seed: int
) -> None:
    """Draw all images of the report into its folder."""
    from adaptation.pairs.pair_grid import pair_grid
    from gigapixel.pictures.filmstrip import comparison_filmstrip
    from gigapixel.pictures.render_command import main as render_main
    from gigapixel.report import plot_learning_curves
    from gigapixel.run_folder.figure import write_figure, write_image

    print_progress("drawing")
    render_main(["--map", config.test_map, "--seed", str(seed), "--output", str(output / "cameras.png")])
    drivers = {"The student drives": policy, "The teacher drives": None}
    filmstrip = comparison_filmstrip(world, drivers, seed, config.film_seconds)
    write_image(output / "film.png", filmstrip)
    several = [pairs[index] for index in range(0, len(pairs), max(1, len(pairs) // 2))][:2]
    one_view = [replace(pair, camera_mask=pair.camera_mask & first_camera_mask(pair)) for pair in several]
    write_image(output / "stand_in.png", pair_grid(one_view, world.rig.names, real_title="stand-in"))
    write_figure(output / "learning.png", plot_learning_curves(output / "student" / "metrics.csv"), dpi=110)
    draw_real_frames(output / "real.png")


def first_camera_mask(pair: Pair) -> Any:
    """A mask [cameras] bool of the first camera only."""
    import torch

    return torch.arange(len(pair.camera_mask)) == 0


def draw_real_frames(path: Path) -> None:
    """Draw up to three real frames beside their renderings. Without GIGAPIXEL_DATA no file is written; nor is one where
    that folder has no frames or invalid ones, which is said: the rest of the report does not need them."""
    import os

    from adaptation.frames.camera_log import CameraLog
    from adaptation.pairs.pair_grid import calibration_grid
    from gigapixel.run_folder.exit_codes import error_message
    from gigapixel.run_folder.figure import write_image

    path.unlink(missing_ok=True)
    if not os.environ.get("GIGAPIXEL_DATA"):
        return
    try:
        camera_log = CameraLog.load(None)
        frames = [sample.cameras[0] for sample in camera_log.samples]
        chosen = [frames[index] for index in range(0, len(frames), max(1, len(frames) // 3))][:3]
        grid = calibration_grid(camera_log, chosen)
    except (ValueError, OSError) as error:
        print_progress(f"the report is without real frames: {error_message(error)}")
        return
    write_image(path, grid)


class Stopwatch:
    """Wall-clock seconds of the parts of the demo."""

    def __init__(self) -> None:
        self._began = self._last = time.perf_counter()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        """End the current part and store its seconds under `name`."""
        now = time.perf_counter()
        self.laps[name], self._last = round(now - self._last, 1), now

    def total(self) -> float:
        """Seconds since the start."""
        return round(time.perf_counter() - self._began, 1)


def print_progress(text: str) -> None:
    """Print a line of progress at once."""
    print(text, flush=True)
