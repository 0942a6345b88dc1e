"""`gigapixel render --map Town03 --seed 0 --output out.png`: what every camera of one agent sees, and where it is.

A world is spawned from the seed and driven for a few seconds by the pretrained teacher; then the car with the most
traffic around it is looked through. The same seed gives the same bytes.

`gigapixel render --frame nuscenes_mini/scene-0103 --output pair.png`: a real moment beside its rendering instead.
"""

from __future__ import annotations

import argparse
import logging
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from gigapixel.pictures.layout import ACCENTS, CELL_WIDTH, Panel, compose, sheet_size
from gigapixel.whole_file import whole_file

if TYPE_CHECKING:
    from gigapixel.pictures.world_snapshot import Moment
    from renderer import CameraRig

_log = logging.getLogger(__name__)

DEFAULT_MAP, DEFAULT_SIZE = "Town03", "480x270"
OF_TOWNS = ("map", "video", "rig", "seed", "agents", "seconds")
"""Options that say nothing about a real frame."""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="gigapixel render", description=__doc__)
    parser.add_argument("--map", help=f"town, OpenDRIVE file or scene pack (default: {DEFAULT_MAP})")
    parser.add_argument(
        "--frame",
        metavar="DATASET/SCENE[/FRAME]",
        help="instead of a town: a real moment of the data in GIGAPIXEL_DATA beside its rendering "
        "(default: the scene's first)",
    )
    parser.add_argument("--camera", nargs="+", metavar="NAME", help="of a --frame (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the world and its drivers (default: 0)")
    parser.add_argument("--output", type=Path, metavar="PNG", help="one picture of everything it sees")
    parser.add_argument(
        "--video", type=Path, metavar="MP4", help="a film of --seconds instead (.mp4 or .gif)"
    )
    parser.add_argument("--rig", metavar="YAML", help="cameras (default: nuPlan's four; see configs/cameras)")
    parser.add_argument("--agents", type=int, default=64, help="agents in the town (default: 64)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=8.0,
        help="driven before the picture, or length of the film (default: 8)",
    )
    parser.add_argument(
        "--size",
        metavar="WIDTHxHEIGHT",
        help=f"of a picture (default: {DEFAULT_SIZE}; of a --frame its own aspect, 480 wide)",
    )
    parser.add_argument(
        "--backend", default="auto", help="auto, reference, numba, triton or nvdiffrast (default: auto)"
    )
    arguments = parser.parse_args(argv)
    given = [name for name in OF_TOWNS if getattr(arguments, name) != parser.get_default(name)]
    if arguments.frame is not None and given:
        raise ValueError(f"--{given[0]} is of a town and --frame of real data; give one of the two")
    if arguments.frame is None and arguments.camera is not None:
        raise ValueError("--camera is of a --frame; the cameras of a town's agent are those of --rig")
    return arguments


def parse_size(text: str) -> tuple[int, int]:
    """(width, height) of "480x270"."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match or not all(1 <= int(side) <= 4096 for side in match.groups()):
        raise ValueError(f"--size {text} must be WIDTHxHEIGHT in pixels, each from 1 to 4096; try 480x270")
    return int(match[1]), int(match[2])


def load_rig(path: str | None, width: int, height: int) -> CameraRig:
    """The rig of a file, or nuPlan's, at the wanted picture size."""
    from renderer import CameraRig

    return (CameraRig.from_yaml(path) if path else CameraRig.nuplan()).resized(height, width)


def left_to_right(rig: CameraRig) -> list[int]:
    """Cameras in the order in which a driver would lay their pictures out: left to right, those behind last."""
    ahead = rig.rig_from_camera[:, :2, 2].tolist()
    azimuths = [math.atan2(y, x) for x, y in ahead]
    behind = [abs(azimuth) > math.radians(120) for azimuth in azimuths]
    return sorted(range(len(azimuths)), key=lambda camera: (behind[camera], -azimuths[camera]))


def make_sheet(moment: Moment, agent: int, rig: CameraRig, backend: str, title: str) -> Image.Image:
    """The whole picture."""
    from gigapixel.pictures.world_snapshot import draw_above, draw_cameras

    frame = draw_cameras(moment, [agent], rig, backend)
    order = left_to_right(rig)
    rig = rig.select([rig.names[camera] for camera in order])
    accents = [ACCENTS[place % len(ACCENTS)] for place in range(len(order))]
    panels = [
        Panel(rig.names[place].replace("_", " "), frame.rgb[0, camera].cpu().numpy(), accents[place])
        for place, camera in enumerate(order)
    ]
    _, box = sheet_size(len(panels), max(1, round(CELL_WIDTH * rig.height / rig.width)))
    above = draw_above(moment, agent, rig, accents, (box[2] - box[0], box[3] - box[1]))
    speed = float(moment.state.speed[0, agent])
    subtitle = (
        f"{moment.time_s:.1f} s after spawning, driven by {moment.driver}; agent {agent} at {speed:.1f} m/s; "
        f"{int(moment.state.present[0].sum())} agents in the town; pictures of {rig.width} x {rig.height} pixels"
    )
    notes = ["white: the agent looked through", "coloured fans: what its cameras cover"]
    return compose(panels, above, title, subtitle, notes)


def save_png(image: Image.Image, path: Path) -> None:
    """Write a PNG whole or not at all, without anything in it that changes from run to run."""
    with whole_file(path) as partial:
        image.save(partial, format="PNG", optimize=False)


def _film(arguments: argparse.Namespace, map_name: str, rig: CameraRig) -> int:
    """`--video`."""
    from tqdm import tqdm

    from gigapixel.pictures.video import FRAMES_PER_S, WARM_UP_S, check_ending, drive_on, frames, write_video
    from gigapixel.pictures.world_snapshot import drive_a_while

    check_ending(arguments.video)
    if arguments.seconds <= 0:
        raise ValueError(f"--seconds {arguments.seconds} of a film: --seconds must be above 0")
    moment = drive_a_while(map_name, arguments.seed, arguments.agents, WARM_UP_S)
    drive = drive_on(moment, arguments.seed, arguments.seconds)
    total = round(arguments.seconds * FRAMES_PER_S)
    pictures = frames(drive, rig, arguments.backend, arguments.seconds)
    shown = (picture for picture in tqdm(pictures, total=total, unit="picture", leave=False))
    write_video(shown, arguments.video)
    _log.info("wrote %s", arguments.video)
    return 0


def _pair(arguments: argparse.Namespace) -> int:
    """`--frame`."""
    from gigapixel.pictures.real_pair import pair_picture

    if arguments.output is None:
        raise ValueError("--frame needs --output pair.png, the picture to write")
    size = None if arguments.size is None else parse_size(arguments.size)
    picture = pair_picture(arguments.frame, arguments.camera, size, arguments.backend)
    save_png(picture, arguments.output)
    _log.info("wrote %s", arguments.output)
    return 0


def main(argv: Sequence[str]) -> int:
    """Draw one agent's cameras and surroundings."""
    arguments = parse(argv)
    if arguments.frame is not None:
        return _pair(arguments)
    map_name = arguments.map or DEFAULT_MAP
    width, height = parse_size(arguments.size or DEFAULT_SIZE)
    if arguments.agents < 1:
        raise ValueError(f"--agents {arguments.agents} must be at least 1")
    if not 0 <= arguments.seconds <= 60:
        raise ValueError(f"--seconds {arguments.seconds} must be from 0 to 60")
    if not 0 <= arguments.seed < 2**32:
        raise ValueError(f"--seed {arguments.seed} must be from 0 to {2**32 - 1}")
    rig = load_rig(arguments.rig, width, height)
    if (arguments.output is None) is (arguments.video is None):
        raise ValueError("give --output out.png for one picture or --video out.mp4 for a film, and not both")
    if arguments.video is not None:
        return _film(arguments, map_name, rig)
    from gigapixel.pictures.world_snapshot import busiest_car, drive_a_while

    moment = drive_a_while(map_name, arguments.seed, arguments.agents, arguments.seconds)
    title = f"{moment.road_map.name}, seed {arguments.seed}"
    save_png(make_sheet(moment, busiest_car(moment.state), rig, arguments.backend, title), arguments.output)
    _log.info("wrote %s", arguments.output)
    return 0
