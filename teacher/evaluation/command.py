"""Closed-loop evaluation of a policy or baseline on maps or in recorded scenes; metrics: `simulator.metrics`.

On maps every agent has a route with three goals 40 to 80 m apart; in recorded scenes the goal of a vehicle is its last
logged position. All agents have the default conditioning.
"""

import argparse
import time
from pathlib import Path

from tqdm import tqdm

from gigapixel.run_folder.atomic import write_json
from gigapixel.run_folder.config.command_line import CommandParser
from gigapixel.run_folder.exit_codes import INTERRUPTED
from gigapixel.run_folder.figure import write_image
from gigapixel.run_folder.outputs import (
    JSON_SUFFIXES,
    check_output_file,
    check_output_folder,
    check_output_picture,
)
from simulator.reset.scene_stream import Capacity
from teacher.evaluation.clips.clip_selection import select_clips
from teacher.evaluation.clips.clip_video import write_clip
from teacher.evaluation.config import POLICY_DRIVER, EvaluationConfig
from teacher.evaluation.episodes import Episodes
from teacher.evaluation.incident_rate import Totals
from teacher.evaluation.logs import drive_packs, metrics_per_pack, pack_of_scene
from teacher.evaluation.long_drives import drive_long
from teacher.evaluation.report import text_lines, to_json, video_title
from teacher.evaluation.towns import drive_towns, metrics_per_town
from teacher.evaluation.traffic import SELF
from teacher.policy import Policy, load_policy

Values = dict[str, object]


class Evaluator:
    """Runs one evaluation, one kind of traffic at a time.

    Attributes:
        episodes: The finished episodes by kind of traffic; none of long drives.
        interrupted: Whether Ctrl-C ended the last long drive.
    """

    def __init__(self, policy: Policy, config: EvaluationConfig, record_states: bool) -> None:
        """``record_states`` keeps the states of every step, which videos need."""
        self.policy, self.config, self.record_states = policy, config, record_states
        self.episodes: dict[str, list[Episodes]] = {}
        self.interrupted = False
        self._capacity: Capacity | None = None

    def run(self, traffic: str) -> Values:
        """Metrics in one kind of traffic, as the JSON output has them."""
        about: Values = {"traffic": traffic, "driver": self.config.driver}
        if self.config.is_long:
            return self._long(traffic, about)
        if self.config.packs:
            return self._packs(traffic, about)
        part = drive_towns(self.policy, self.config, traffic, self.record_states)
        self.episodes[traffic] = [part]
        by_town = metrics_per_town(part.final, self.config.maps)
        return {**part.metrics().to_json(), **about, "by_town": by_town}

    def _packs(self, traffic: str, about: Values) -> Values:
        parts, self._capacity = drive_packs(
            self.policy, self.config, traffic, self.record_states, self._capacity
        )
        self.episodes[traffic] = parts
        packs = pack_of_scene(self.config.packs, self.config.split)
        metrics, by_pack, scenes = metrics_per_pack(parts, packs)
        about |= {"split": self.config.split, "scenes": scenes}
        return {**metrics.to_json(), **about, "by_pack": by_pack}

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
        by_town = {name: totals.metrics(map_id) for map_id, name in enumerate(self.config.maps)}
        return {**totals.metrics(), **about, "by_town": by_town}


def write_videos(evaluation: Evaluator, folder: Path, count: int) -> list[Path]:
    """Writes videos of the ``count`` best and worst agent-episodes in every kind of traffic; returns their paths."""
    written = []
    for traffic, parts in evaluation.episodes.items():
        chosen = zip(("best", "worst"), select_clips(parts, count), strict=True)
        clips = [(f"{kind} {index + 1}", clip) for kind, some in chosen for index, clip in enumerate(some)]
        for name, clip in tqdm(clips, desc=f"videos, {traffic}", unit="video"):
            title = video_title(clip, name, traffic, evaluation.config.driver)
            event = clip.event.replace(" ", "_")
            stem = f"{evaluation.config.driver}_{traffic}_{name.replace(' ', '_')}_{event}"
            written += write_clip(clip, title, folder, stem)
    return written


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="gigapixel teacher evaluate", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add("--policy", default="pretrained", help="policy file, or 'pretrained' (default)")
    add(
        "--driver",
        default=POLICY_DRIVER,
        help="controller under evaluation: policy (default), constant_velocity or idm",
    )
    add("--map", help="maps, separated by commas (default: Town10HD)")
    add("--pack", help="packs of recorded scenes (.h5), separated by commas, instead of --map")
    add("--split", default="all", help="scenes of the packs: all (default), train or held_out")
    add(
        "--traffic",
        default=SELF,
        help="controllers of the other agents, on maps: self (default), idm, mixed; in packs: self, replay,\n"
        "idm; several separated by commas are evaluated one after the other",
    )
    add("--share", type=float, help="share of agents that the driver controls, with --traffic idm or replay")
    add("--worlds", type=int, default=16, help="parallel worlds; with --pack, scenes per batch (default: 16)")
    add("--agents", type=int, help="agents per world (default: 16, with --pack 64)")
    add("--seconds", type=float, help="length of an episode (default: 60, with --pack the whole recording)")
    add(
        "--hours", type=float, help="repeat episodes for this many agent-hours and report the km per incident"
    )
    add("--km", type=float, help="the same for this many kilometres")
    add("--seed", type=int, default=0)
    add("--sample", action="store_true", help="sample actions instead of taking the most probable ones")
    add("--output", type=Path, help="write the metrics to this JSON file")
    add("--picture", type=Path, help="write a top-down filmstrip of one episode on the first map (PNG)")
    add("--videos", type=Path, help="write videos of the best and worst agent-episodes into this folder")
    add("--num_videos", type=int, default=2, help="number of best and of worst episodes (default: 2)")
    return parser


def parse_evaluation(argv: list[str]) -> tuple[argparse.Namespace, EvaluationConfig]:
    """The parsed command line and its configuration. Raises ValueError for bad arguments."""
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
        raise ValueError("--videos needs whole episodes; leave out --hours and --km")
    if given.num_videos < 1:
        raise ValueError(f"--num_videos {given.num_videos} must be at least 1")
    if given.picture and config.packs:
        raise ValueError("--picture needs --map; use --videos with --pack")
    return given, config


def main(argv: list[str]) -> int:
    """The command ``gigapixel teacher evaluate``; returns its exit code. Raises ValueError for bad arguments."""
    given, config = parse_evaluation(argv)
    check_output_file("--output", given.output, JSON_SUFFIXES)
    check_output_picture("--picture", given.picture)
    check_output_folder("--videos", given.videos)
    evaluation = Evaluator(load_policy(given.policy), config, record_states=given.videos is not None)
    results: dict[str, Values] = {}
    for traffic in config.traffic:
        results[traffic] = evaluation.run(traffic)
        if given.output:  # after each one, so that an interruption loses nothing
            write_json(given.output, to_json(results))
        print("\n".join(text_lines(results[traffic], heading=len(config.traffic) > 1)))
        if evaluation.interrupted:
            return INTERRUPTED
    if given.picture:
        from teacher.evaluation.clips.filmstrip import filmstrip

        size = (config.agents_per_world, config.town_seconds, config.seed)
        image = filmstrip(
            evaluation.policy, config.maps[0], *size, config.traffic[0], config.driver, config.share
        )
        write_image(given.picture, image)
    if given.videos:
        for path in write_videos(evaluation, given.videos, given.num_videos):
            print(path)
    return 0
