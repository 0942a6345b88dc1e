"""How well a driver drives: closed-loop episodes in towns or recorded scenes, summarised by `simulator.metrics`.

In towns every agent gets a route with three goals 40 to 80 m apart; in recorded scenes vehicles go where they were
recorded to go. All agents have the careful driver's traits.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from simulator.metrics.summary import Metrics
from simulator.reset.scene_stream import Capacity
from simulator.state import WorldState
from teacher.evaluation.clips.clip_selection import chosen_clips
from teacher.evaluation.clips.clip_video import write_film
from teacher.evaluation.config import POLICY_DRIVER, EvaluationConfig
from teacher.evaluation.episodes import Episodes, choose_with
from teacher.evaluation.incident_rate import Totals
from teacher.evaluation.logs import drive_packs, pack_figures, scenes_of
from teacher.evaluation.long_drives import drive_long
from teacher.evaluation.report import combined, lines, title_of
from teacher.evaluation.towns import drive_towns, evaluation_simulator, rates_per_town, start_worlds
from teacher.evaluation.traffic import SELF
from teacher.policy import Policy, load_policy
from teacher.run.run_folder import write_json

__all__ = ["choose_with", "evaluate", "evaluation_simulator", "main", "rates_per_town", "start_worlds"]

INTERRUPTED = 130
Values = dict[str, object]


def evaluate(
    policy: Policy,
    maps: Sequence[str],
    num_worlds: int = 16,
    num_agents: int = 16,
    seconds: float = 60.0,
    seed: int = 0,
    greedy: bool = True,
    traffic: str = SELF,
    driver: str = POLICY_DRIVER,
) -> tuple[Metrics, WorldState]:
    """Metrics of ``num_worlds`` episodes spread over ``maps``, and their last states.

    ``greedy`` takes the likeliest action, as labels do, instead of drawing one; ``traffic`` and ``driver`` are names of
    `teacher.evaluation.traffic` and of `EvaluationConfig`. Raises ValueError for more agents than a town holds.
    """
    config = EvaluationConfig(
        maps=tuple(maps),
        worlds=num_worlds,
        agents=num_agents,
        seconds=seconds,
        seed=seed,
        greedy=greedy,
        traffic=(traffic,),
        driver=driver,
    )
    episodes = drive_towns(policy, config, traffic)
    return episodes.metrics(), episodes.final


class Evaluation:
    """One evaluation as asked for, traffic by traffic."""

    def __init__(self, policy: Policy, config: EvaluationConfig, filmed: bool) -> None:
        self.policy, self.config, self.filmed = policy, config, filmed
        self.episodes: dict[str, list[Episodes]] = {}
        self.interrupted = False
        self._capacity: Capacity | None = None

    def run(self, traffic: str) -> Values:
        """The figures in one kind of traffic."""
        about: Values = {"traffic": traffic, "driver": self.config.driver}
        if self.config.is_long:
            return self._long(traffic, about)
        if self.config.packs:
            return self._packs(traffic, about)
        part = drive_towns(self.policy, self.config, traffic, self.filmed)
        self.episodes[traffic] = [part]
        rows = rates_per_town(part.final, self.config.maps)
        return {**part.metrics().to_json(), **about, "by_town": rows}

    def _packs(self, traffic: str, about: Values) -> Values:
        parts, self._capacity = drive_packs(self.policy, self.config, traffic, self.filmed, self._capacity)
        self.episodes[traffic] = parts
        packs = scenes_of(self.config.packs, self.config.split)
        metrics, rows, scenes = pack_figures(parts, packs)
        about |= {"split": self.config.split, "scenes": scenes}
        return {**metrics.to_json(), **about, "by_pack": rows}

    def _long(self, traffic: str, about: Values) -> Values:
        began = time.perf_counter()
        in_hours = self.config.hours is not None
        target = float(self.config.hours or self.config.km or 0.0)
        form = "{l_bar}{bar}| {n:.2f}/{total:g} {unit} [{elapsed}<{remaining}{postfix}]"
        unit = "agent-hours" if in_hours else "km"
        with tqdm(total=target, unit=unit, bar_format=form, desc=traffic) as bar:

            def report(totals: Totals) -> None:
                bar.set_postfix(km=f"{totals.km:.1f}", incidents=totals.incidents, refresh=False)
                bar.update(min(totals.hours if in_hours else totals.km, target) - bar.n)

            totals, self.interrupted = drive_long(self.policy, self.config, traffic, report)
        about |= {"interrupted": self.interrupted, "wall_s": time.perf_counter() - began}
        rows = {name: totals.figures(town) for town, name in enumerate(self.config.maps)}
        return {**totals.figures(), **about, "by_town": rows}


def write_videos(evaluation: Evaluation, folder: Path, count: int) -> list[Path]:
    """Films of the best and the worst agent-episodes of every kind of traffic."""
    written = []
    for traffic, parts in evaluation.episodes.items():
        chosen = zip(("best", "worst"), chosen_clips(parts, count), strict=True)
        clips = [(f"{kind} {index + 1}", clip) for kind, some in chosen for index, clip in enumerate(some)]
        for name, clip in tqdm(clips, desc=f"films, {traffic}", unit="film"):
            title = title_of(clip, name, traffic, evaluation.config.driver)
            event = clip.event.replace(" ", "_")
            stem = f"{evaluation.config.driver}_{traffic}_{name.replace(' ', '_')}_{event}"
            written += write_film(clip, title, folder, stem)
    return written


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gigapixel teacher evaluate", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add("--policy", default="pretrained", help="policy file, or 'pretrained' (default)")
    add("--driver", default=POLICY_DRIVER, help="who drives: policy (default), constant_velocity or idm")
    add("--map", help="towns, separated by commas (default: Town10HD)")
    add("--pack", help="packs of recorded scenes (.h5), separated by commas, instead of --map")
    add("--split", default="all", help="scenes of the packs: all (default), train or held_out")
    add(
        "--traffic",
        default=SELF,
        help="who else drives, in towns: self (default), idm, mixed; in packs: self, replay, idm;\n"
        "several separated by commas are driven one after the other",
    )
    add("--share", type=float, help="share of agents for the driver with --traffic idm or replay")
    add("--worlds", type=int, default=16, help="parallel worlds; with --pack, scenes at a time (default: 16)")
    add("--agents", type=int, help="agents per world (default: 16, with --pack 64)")
    add("--seconds", type=float, help="length of an episode (default: 60, with --pack the whole recording)")
    add("--hours", type=float, help="drive on for so many agent-hours and count the km between incidents")
    add("--km", type=float, help="the same for so many kilometres")
    add("--seed", type=int, default=0)
    add("--sample", action="store_true", help="draw actions instead of taking the likeliest")
    add("--output", type=Path, help="write the figures here as JSON")
    add("--picture", type=Path, help="write a top-down filmstrip of one drive through the first town (PNG)")
    add("--videos", type=Path, help="write films of the best and worst agent-episodes into this folder")
    add("--num_videos", type=int, default=2, help="how many of either (default: 2)")
    return parser


def parse(argv: list[str]) -> tuple[argparse.Namespace, EvaluationConfig]:
    """The command line and what it asks for. Raises ValueError on impossible arguments."""
    given = _parser().parse_args(argv)
    several = {
        name: tuple(part.strip() for part in (getattr(given, name) or "").split(",") if part.strip())
        for name in ("map", "pack", "traffic")
    }
    config = EvaluationConfig(
        maps=("Town10HD",) if given.map is None and given.pack is None else several["map"],
        packs=several["pack"],
        traffic=several["traffic"],
        greedy=not given.sample,
        **{
            name: getattr(given, name)
            for name in ("split", "share", "driver", "worlds", "agents", "seconds", "seed", "hours", "km")
        },
    )
    if given.videos and config.is_long:
        raise ValueError("--videos shows episodes from beginning to end; leave out --hours and --km")
    if given.num_videos < 1:
        raise ValueError(f"--num_videos {given.num_videos} must be at least 1")
    if given.picture and config.packs:
        raise ValueError("--picture shows a drive through a town; use --videos with --pack")
    return given, config


def main(argv: list[str]) -> int:
    """The command ``gigapixel teacher evaluate``. Raises ValueError on impossible arguments."""
    given, config = parse(argv)
    evaluation = Evaluation(load_policy(given.policy), config, filmed=given.videos is not None)
    results: dict[str, Values] = {}
    for traffic in config.traffic:
        results[traffic] = evaluation.run(traffic)
        if given.output:  # after each one, so that what is done is kept
            write_json(given.output, combined(results))
        print("\n".join(lines(results[traffic], heading=len(config.traffic) > 1)))
        if evaluation.interrupted:
            return INTERRUPTED
    if given.picture:
        from teacher.evaluation.clips.filmstrip import filmstrip

        given.picture.parent.mkdir(parents=True, exist_ok=True)
        size = (config.agents_per_world, config.town_seconds, config.seed)
        filmstrip(
            evaluation.policy, config.maps[0], *size, config.traffic[0], config.driver, config.share
        ).save(given.picture)
    if given.videos:
        for path in write_videos(evaluation, given.videos, given.num_videos):
            print(path)
    return 0
