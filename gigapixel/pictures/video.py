"""`gigapixel render --video out.mp4`: some seconds of a town through the cameras of one agent, and from above.

The world is stepped with the timestep that the policy was trained with; poses are interpolated between two steps.
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

from gigapixel.pictures.layout import ACCENTS, BACKGROUND, TEXT, Colour
from gigapixel.pictures.world_snapshot import SceneBuilder, WorldSnapshot, busiest_car, draw_top_down
from gigapixel.run_folder.atomic import atomic_write
from gigapixel.run_folder.image_grid import load_font
from renderer import CameraRig, render
from simulator.angles import wrap_angle
from simulator.rollout import rollout_worlds
from simulator.state import WorldState
from teacher.evaluation.clips.clip_video import save_gif
from teacher.policy import load_policy, make_policy_fn

VIDEO_SIZE = (1280, 720)  # width, height
FRAMES_PER_S = 20
WARM_UP_S = 4.0  # driven before the video begins
FIRST_SIZE, OTHER_SIZE = (832, 468), (424, 238)  # width, height
VIDEO_GAP_PX = 4


@dataclass(frozen=True)
class DrivenEpisode:
    """Some seconds of one world, and the agent whose cameras are shown."""

    snapshots: list[WorldSnapshot]  # one per step of the simulator
    agent: int


def continue_driving(snapshot: WorldSnapshot, seed: int, seconds: float) -> DrivenEpisode:
    """Drive for some more seconds, and choose the agent to show: the busiest car that is still driving at the end.

    Without a pretrained teacher the world does not move.
    """
    steps = max(1, round(seconds / snapshot.config.timestep_s))
    states = [snapshot.state]
    if snapshot.driver is not None:
        policy_fn = make_policy_fn(load_policy("pretrained"), snapshot.atlas, snapshot.config, greedy=False)
        step = jax.jit(
            lambda key, state, atlas: rollout_worlds(policy_fn, key, state, atlas, snapshot.config, 1)[0]
        )
        for key in jax.random.split(jax.random.fold_in(jax.random.key(seed), 1), steps):
            states.append(step(key, states[-1], snapshot.atlas))
    else:
        states += [snapshot.state] * steps
    lasting = states[-1].active & states[0].active
    middle = states[len(states) // 2]
    agent = busiest_car(middle.replace(active=lasting) if bool(lasting.any()) else middle)
    return DrivenEpisode([replace(snapshot, state=state) for state in states], agent)


def interpolate_poses(before: WorldState, after: WorldState, share: float) -> WorldState:
    """`before` with poses interpolated linearly towards `after`; agents that are absent in `after` keep theirs."""
    position = before.position + share * (after.position - before.position)
    return before.replace(
        position=jnp.where(after.present[..., None], position, before.position),
        yaw=before.yaw + share * jnp.where(after.present, wrap_angle(after.yaw - before.yaw), 0.0),
    )


def video_frames(
    episode: DrivenEpisode, rig: CameraRig, backend: str, seconds: float
) -> Iterator[Image.Image]:
    """Images of VIDEO_SIZE, FRAMES_PER_S of them per second."""
    first, rest = rig.select(rig.names[:1]), rig.select(rig.names[1:]) if rig.num_cameras > 1 else None
    rigs = [first.resized(FIRST_SIZE[1], FIRST_SIZE[0])] + (
        [rest.resized(OTHER_SIZE[1], OTHER_SIZE[0])] if rest else []
    )
    start = episode.snapshots[0]
    builder = SceneBuilder([start.road_map], start.atlas, start.config)
    agent = torch.tensor([episode.agent])
    for number in range(round(seconds * FRAMES_PER_S)):
        time_steps = number / FRAMES_PER_S / start.config.timestep_s
        step = min(int(time_steps), len(episode.snapshots) - 2)
        before, after = episode.snapshots[step], episode.snapshots[step + 1]
        now = replace(before, state=interpolate_poses(before.state, after.state, min(time_steps - step, 1.0)))
        scene = builder.build(now.state, agent)
        pictures = [render(scene, part, channels=("rgb",), backend=backend).rgb[0].numpy() for part in rigs]
        yield _compose_frame(now, episode.agent, rig, [camera for part in pictures for camera in part])


def _compose_frame(
    snapshot: WorldSnapshot, agent: int, rig: CameraRig, pictures: list[np.ndarray]
) -> Image.Image:
    """The first camera large, the view from above beside it, the other cameras below."""
    frame = Image.new("RGB", VIDEO_SIZE, BACKGROUND)
    accents = [ACCENTS[index % len(ACCENTS)] for index in range(rig.num_cameras)]
    positions = [(0, 0)] + [
        (k * (OTHER_SIZE[0] + VIDEO_GAP_PX), VIDEO_SIZE[1] - OTHER_SIZE[1])
        for k in range(rig.num_cameras - 1)
    ]
    for name, picture, position, accent in zip(rig.names, pictures, positions, accents):
        frame.paste(Image.fromarray(picture), position)
        _label(frame, position, name.replace("_", " "), accent)
    left = FIRST_SIZE[0] + VIDEO_GAP_PX
    frame.paste(
        draw_top_down(snapshot, agent, rig, accents, (VIDEO_SIZE[0] - left, FIRST_SIZE[1])), (left, 0)
    )
    _label(frame, (left, 0), f"{float(snapshot.state.speed[0, agent]) * 3.6:.0f} km/h", TEXT)
    return frame


def _label(frame: Image.Image, position: tuple[int, int], text: str, colour: Colour) -> None:
    ImageDraw.Draw(frame).text((position[0] + 8, position[1] + 6), text, fill=colour, font=load_font(16))


def write_video(pictures: Iterable[Image.Image], path: Path) -> None:
    """Write a video atomically: H.264 for .mp4, or a .gif of half the width and height.

    Raises ValueError for other suffixes.
    """
    check_video_suffix(path)
    with atomic_write(path) as temporary:
        (_write_mp4 if path.suffix == ".mp4" else _write_gif)(pictures, temporary)


def check_video_suffix(path: Path) -> None:
    """Raises ValueError for a path that ends in neither .mp4 nor .gif."""
    if path.suffix not in (".mp4", ".gif"):
        raise ValueError(f"--video {path} must end in .mp4 or .gif")


def _write_mp4(pictures: Iterable[Image.Image], path: Path) -> None:
    import av

    with av.open(str(path), "w") as video:
        stream = video.add_stream("libx264", rate=FRAMES_PER_S)
        stream.width, stream.height = VIDEO_SIZE
        stream.pix_fmt, stream.options = "yuv420p", {"crf": "20"}
        for picture in pictures:
            video.mux(stream.encode(av.VideoFrame.from_image(picture)))
        video.mux(stream.encode())


def _write_gif(pictures: Iterable[Image.Image], path: Path) -> None:
    small = [
        picture.resize((VIDEO_SIZE[0] // 2, VIDEO_SIZE[1] // 2), Image.Resampling.LANCZOS)
        for picture in pictures
    ]
    save_gif(small, 1 / FRAMES_PER_S, path, hold_s=1 / FRAMES_PER_S)
