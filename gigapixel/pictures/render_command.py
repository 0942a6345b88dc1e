"""`gigapixel render --map Town03 --seed 0 --output out.png`: all cameras of one agent, and the view from above.

A world is reset from the seed and driven for a few seconds by the pretrained teacher; the agent is the car with the
most traffic around it. The same seed gives the same bytes.

`gigapixel render --frame nuscenes_mini/scene-0103 --output pair.png`: a real sample beside its rendering instead.
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

from gigapixel.pictures.layout import ACCENTS, CAMERA_WIDTH_PX, compose_overview, overview_size
from gigapixel.run_folder.config.command_line import CommandParser
from gigapixel.run_folder.figure import write_image
from gigapixel.run_folder.image_grid import GridCell
from gigapixel.run_folder.outputs import check_output_file, check_output_picture

if TYPE_CHECKING:
    from gigapixel.pictures.world_snapshot import WorldSnapshot
    from renderer import CameraRig

_log = logging.getLogger(__name__)

DEFAULT_MAP, DEFAULT_SIZE = "Town03", "480x270"
TOWN_OPTIONS = ("map", "video", "rig", "seed", "agents", "seconds")
"""Options that cannot be combined with --frame."""


def parse_render_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = CommandParser(prog="gigapixel render", description=__doc__)
    parser.add_argument("--map", help=f"town, OpenDRIVE file or scene pack (default: {DEFAULT_MAP})")
    parser.add_argument(
        "--frame",
        metavar="DATASET/SCENE[/FRAME]",
        help="instead of a town: a real sample of the data in GIGAPIXEL_DATA beside its rendering "
        "(without FRAME: the first of the scene)",
    )
    parser.add_argument("--camera", nargs="+", metavar="NAME", help="cameras of --frame (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the world and its drivers (default: 0)")
    parser.add_argument("--output", type=Path, metavar="PNG", help="one picture of all its cameras")
    parser.add_argument(
        "--video", type=Path, metavar="MP4", help="a video of --seconds instead (.mp4 or .gif)"
    )
    parser.add_argument("--rig", metavar="YAML", help="cameras (default: nuPlan's four; see configs/cameras)")
    parser.add_argument("--agents", type=int, default=64, help="agents in the town (default: 64)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=8.0,
        help="time driven before the picture, or length of the video (default: 8)",
    )
    parser.add_argument(
        "--size",
        metavar="WIDTHxHEIGHT",
        help=f"size of an image (default: {DEFAULT_SIZE}; with --frame 480 wide, in the aspect of the camera)",
    )
    parser.add_argument(
        "--backend", default="auto", help="auto, reference, numba, triton or nvdiffrast (default: auto)"
    )
    arguments = parser.parse_args(argv)
    given = [name for name in TOWN_OPTIONS if getattr(arguments, name) != parser.get_default(name)]
    if arguments.frame is not None and given:
        raise ValueError(f"--{given[0]} is for towns and --frame for real data; give one of the two")
    if arguments.frame is None and arguments.camera is not None:
        raise ValueError("--camera needs --frame; the cameras of an agent in a town are those of --rig")
    return arguments


def parse_size(text: str) -> tuple[int, int]:
    """(width, height) of "480x270"."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match or not all(1 <= int(side) <= 4096 for side in match.groups()):
        raise ValueError(f"--size {text} must be WIDTHxHEIGHT in pixels, each from 1 to 4096; try 480x270")
    return int(match[1]), int(match[2])


def load_rig(path: str | None, width: int, height: int) -> CameraRig:
    """The rig of a YAML file, or nuPlan's four cameras, resized to (width, height) in pixels."""
    from renderer import CameraRig

    return (CameraRig.from_yaml(path) if path else CameraRig.nuplan()).resized(height, width)


def left_to_right(rig: CameraRig) -> list[int]:
    """Indices of the cameras by direction from left to right; cameras that look back come last."""
    directions = rig.rig_from_camera[:, :2, 2].tolist()
    azimuths = [math.atan2(y, x) for x, y in directions]
    behind = [abs(azimuth) > math.radians(120) for azimuth in azimuths]
    return sorted(range(len(azimuths)), key=lambda camera: (behind[camera], -azimuths[camera]))


def draw_overview(
    snapshot: WorldSnapshot, agent: int, rig: CameraRig, backend: str, title: str
) -> Image.Image:
    """All cameras of an agent, with the view from above; `title` is the heading."""
    from gigapixel.pictures.world_snapshot import draw_cameras, draw_top_down

    frame = draw_cameras(snapshot, [agent], rig, backend)
    order = left_to_right(rig)
    rig = rig.select([rig.names[camera] for camera in order])
    accents = [ACCENTS[place % len(ACCENTS)] for place in range(len(order))]
    cells = [
        GridCell(frame.rgb[0, camera].cpu().numpy(), rig.names[place].replace("_", " "), accents[place])
        for place, camera in enumerate(order)
    ]
    _, box = overview_size(len(cells), max(1, round(CAMERA_WIDTH_PX * rig.height / rig.width)))
    top_down = draw_top_down(snapshot, agent, rig, accents, (box[2] - box[0], box[3] - box[1]))
    speed = float(snapshot.state.speed[0, agent])
    subtitle = (
        f"{snapshot.time_s:.1f} s after spawning, driven by {snapshot.driver or 'no policy'}; "
        f"agent {agent} at {speed:.1f} m/s; {int(snapshot.state.present[0].sum())} agents in the town; "
        f"pictures of {rig.width} x {rig.height} pixels"
    )
    notes = ["white: the agent looked through", "coloured fans: what its cameras cover"]
    return compose_overview(cells, top_down, title, subtitle, notes)


def _write_town_video(arguments: argparse.Namespace, map_name: str, rig: CameraRig) -> int:
    """`--video`."""
    from tqdm import tqdm

    from gigapixel.pictures.video import (
        FRAMES_PER_S,
        WARM_UP_S,
        check_video_suffix,
        continue_driving,
        video_frames,
        write_video,
    )
    from gigapixel.pictures.world_snapshot import make_snapshot

    check_video_suffix(arguments.video)
    check_output_file("--video", arguments.video)
    if arguments.seconds <= 0:
        raise ValueError(f"--seconds {arguments.seconds} of a video: --seconds must be above 0")
    snapshot = make_snapshot(map_name, arguments.seed, arguments.agents, WARM_UP_S)
    episode = continue_driving(snapshot, arguments.seed, arguments.seconds)
    total = round(arguments.seconds * FRAMES_PER_S)
    images = video_frames(episode, rig, arguments.backend, arguments.seconds)
    # A generator, since the run-time type check of the tests does not take tqdm for an Iterable[Image].
    shown = (image for image in tqdm(images, total=total, unit="image", leave=False))
    write_video(shown, arguments.video)
    _log.info("wrote %s", arguments.video)
    return 0


def _write_pair(arguments: argparse.Namespace) -> int:
    """`--frame`."""
    from gigapixel.pictures.real_pair import pair_picture

    if arguments.output is None:
        raise ValueError("--frame needs --output pair.png, the picture to write")
    check_output_picture("--output", arguments.output)
    size = None if arguments.size is None else parse_size(arguments.size)
    picture = pair_picture(arguments.frame, arguments.camera, size, arguments.backend)
    write_image(arguments.output, picture)
    _log.info("wrote %s", arguments.output)
    return 0


def main(argv: Sequence[str]) -> int:
    """Draw the cameras of one agent, or a real sample beside its rendering."""
    arguments = parse_render_arguments(argv)
    if arguments.frame is not None:
        return _write_pair(arguments)
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
        raise ValueError("give --output out.png for one picture or --video out.mp4 for a video, and not both")
    check_output_picture("--output", arguments.output)
    if arguments.video is not None:
        return _write_town_video(arguments, map_name, rig)
    from gigapixel.pictures.world_snapshot import busiest_car, make_snapshot

    snapshot = make_snapshot(map_name, arguments.seed, arguments.agents, arguments.seconds)
    title = f"{snapshot.road_map.name}, seed {arguments.seed}"
    overview = draw_overview(snapshot, busiest_car(snapshot.state), rig, arguments.backend, title)
    write_image(arguments.output, overview)
    _log.info("wrote %s", arguments.output)
    return 0
