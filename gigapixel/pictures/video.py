"""`gigapixel render --video out.mp4`: some seconds of a town through one agent's cameras, and from above.

The world is stepped as the policy was trained to drive it, a few times a second; between two steps poses are mixed, so
that the film flows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import torch
from PIL import Image, ImageDraw

from gigapixel.pictures.layout import ACCENTS, BACKGROUND, TEXT, Colour, font
from gigapixel.pictures.world_snapshot import Moment, busiest_car, draw_above, scene_at
from gigapixel.whole_file import whole_file
from renderer import CameraRig, render
from simulator.dynamics.bicycle import wrap_angle
from simulator.rollout import roll
from simulator.state import WorldState
from student.bridge import ground_library, light_table
from teacher.evaluation.clips.clip_video import save_gif
from teacher.evaluation.command import choose_with
from teacher.policy import load_policy

SIZE = (1280, 720)
FRAMES_PER_S = 20
WARM_UP_S = 4.0
"""Driven before the film begins: worlds are spawned standing or in line."""
LARGE, SMALL, GAP = (832, 468), (424, 238), 4  # width, height of the first camera and of the others


@dataclass(frozen=True)
class Drive:
    """Some seconds of one world, and who is looked through."""

    moments: list[Moment]  # one per step of the simulator
    agent: int


def drive_on(moment: Moment, seed: int, seconds: float) -> Drive:
    """Go on driving for some seconds; the busiest car that still drives in the end is looked through.

    A world that nobody drives stands still.
    """
    steps = max(1, round(seconds / moment.config.timestep_s))
    states = [moment.state]
    if moment.driver != "nobody":
        choose = choose_with(load_policy("pretrained"), moment.atlas, moment.config, greedy=False)
        step = jax.jit(lambda key, state, atlas: roll(key, state, choose, atlas, moment.config, 1)[0])
        for key in jax.random.split(jax.random.fold_in(jax.random.key(seed), 1), steps):
            states.append(step(key, states[-1], moment.atlas))
    else:
        states += [moment.state] * steps
    lasting = states[-1].active & states[0].active
    middle = states[len(states) // 2]
    agent = busiest_car(middle.replace(active=lasting) if bool(lasting.any()) else middle)
    return Drive([replace(moment, state=state) for state in states], agent)


def between(before: WorldState, after: WorldState, share: float) -> WorldState:
    """Poses on the way from one state to the next; all else is as before."""
    position = before.position + share * (after.position - before.position)
    return before.replace(
        position=jnp.where(after.present[..., None], position, before.position),
        yaw=before.yaw + share * jnp.where(after.present, wrap_angle(after.yaw - before.yaw), 0.0),
    )


def frames(drive: Drive, rig: CameraRig, backend: str, seconds: float) -> Iterator[Image.Image]:
    """Pictures of SIZE, FRAMES_PER_S of them a second."""
    first, rest = rig.select(rig.names[:1]), rig.select(rig.names[1:]) if rig.num_cameras > 1 else None
    rigs = [first.resized(LARGE[1], LARGE[0])] + ([rest.resized(SMALL[1], SMALL[0])] if rest else [])
    start = drive.moments[0]
    ground, lights = ground_library([start.road_map]), light_table(start.atlas)
    agent = torch.tensor([drive.agent])
    for number in range(round(seconds * FRAMES_PER_S)):
        place = number / FRAMES_PER_S / start.config.timestep_s
        step = min(int(place), len(drive.moments) - 2)
        before, after = drive.moments[step], drive.moments[step + 1]
        now = replace(before, state=between(before.state, after.state, min(place - step, 1.0)))
        drawn = scene_at(now.state, now.atlas, now.config, ground, agent, lights)
        pictures = [render(drawn, part, channels=("rgb",), backend=backend).rgb[0].numpy() for part in rigs]
        yield _composed(now, drive.agent, rig, [camera for part in pictures for camera in part])


def _composed(moment: Moment, agent: int, rig: CameraRig, pictures: list[np.ndarray]) -> Image.Image:
    """The first camera large, the view from above beside it, the other cameras below."""
    frame = Image.new("RGB", SIZE, BACKGROUND)
    accents = [ACCENTS[index % len(ACCENTS)] for index in range(rig.num_cameras)]
    places = [(0, 0)] + [(k * (SMALL[0] + GAP), SIZE[1] - SMALL[1]) for k in range(rig.num_cameras - 1)]
    for name, picture, place, accent in zip(rig.names, pictures, places, accents):
        frame.paste(Image.fromarray(picture), place)
        _label(frame, place, name.replace("_", " "), accent)
    left = LARGE[0] + GAP
    frame.paste(draw_above(moment, agent, rig, accents, (SIZE[0] - left, LARGE[1])), (left, 0))
    _label(frame, (left, 0), f"{float(moment.state.speed[0, agent]) * 3.6:.0f} km/h", TEXT)
    return frame


def _label(frame: Image.Image, place: tuple[int, int], text: str, colour: Colour) -> None:
    ImageDraw.Draw(frame).text((place[0] + 8, place[1] + 6), text, fill=colour, font=font(16))


def write_video(pictures: Iterable[Image.Image], path: Path) -> None:
    """A film, whole or not at all: H.264 in an .mp4, or a .gif (a quarter of the pixels).

    Raises ValueError for other endings.
    """
    check_ending(path)
    with whole_file(path) as partial_path:
        (_write_mp4 if path.suffix == ".mp4" else _write_gif)(pictures, partial_path)


def check_ending(path: Path) -> None:
    """Raises ValueError for a film that is neither .mp4 nor .gif."""
    if path.suffix not in (".mp4", ".gif"):
        raise ValueError(f"--video {path} must end in .mp4 or .gif")


def _write_mp4(pictures: Iterable[Image.Image], path: Path) -> None:
    import av

    with av.open(str(path), "w") as film:
        stream = film.add_stream("libx264", rate=FRAMES_PER_S)
        stream.width, stream.height = SIZE
        stream.pix_fmt, stream.options = "yuv420p", {"crf": "20"}
        for picture in pictures:
            film.mux(stream.encode(av.VideoFrame.from_image(picture)))
        film.mux(stream.encode())


def _write_gif(pictures: Iterable[Image.Image], path: Path) -> None:
    small = [picture.resize((SIZE[0] // 2, SIZE[1] // 2), Image.Resampling.LANCZOS) for picture in pictures]
    save_gif(small, 1 / FRAMES_PER_S, path, hold_s=1 / FRAMES_PER_S)
