"""Videos are written atomically, hold the given images, and interpolate poses."""

from __future__ import annotations

import av
import numpy as np
import pytest
from PIL import Image

from gigapixel.pictures.render_command import main
from gigapixel.pictures.video import FRAMES_PER_S, VIDEO_SIZE, interpolate_poses, write_video

COLOURS = ((200, 40, 40), (40, 200, 40), (40, 40, 200))


def pictures():
    return (Image.new("RGB", VIDEO_SIZE, colour) for colour in COLOURS)


def test_an_mp4_holds_the_pictures_in_order(tmp_path):
    write_video(pictures(), tmp_path / "films" / "a.mp4")
    with av.open(str(tmp_path / "films" / "a.mp4")) as video:
        assert video.streams.video[0].average_rate == FRAMES_PER_S
        shown = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert [picture.shape for picture in shown] == [(VIDEO_SIZE[1], VIDEO_SIZE[0], 3)] * 3
    for picture, colour in zip(shown, COLOURS, strict=True):
        assert np.abs(picture.mean(axis=(0, 1)) - colour).max() < 12  # the codec's colours are not exact
    assert [path.name for path in (tmp_path / "films").iterdir()] == ["a.mp4"]


def test_a_gif_holds_the_pictures_in_order(tmp_path):
    write_video(pictures(), tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as video:
        assert video.n_frames == 3
        video.seek(2)
        assert np.abs(np.asarray(video.convert("RGB")).mean(axis=(0, 1)) - COLOURS[2]).max() < 12


def test_a_video_that_fails_leaves_no_file(tmp_path):
    def broken():
        yield from pictures()
        raise RuntimeError("no more pictures")

    with pytest.raises(RuntimeError, match="no more pictures"):
        write_video(broken(), tmp_path / "a.mp4")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--video", "a.avi"], r"--video a\.avi must end in \.mp4 or \.gif"),
        (["--video", "a.mp4", "--seconds", "0"], "--seconds must be above 0"),
        (["--video", "a.mp4", "--output", "a.png"], "and not both"),
        ([], r"give --output out\.png for one picture or --video"),
    ],
)
def test_bad_video_arguments_are_rejected(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        main(arguments)


def test_a_video_of_a_town(tmp_path):
    main(["--map", "Town01", "--agents", "4", "--seconds", "0.3", "--video", str(tmp_path / "a.mp4")])
    with av.open(str(tmp_path / "a.mp4")) as video:
        shown = [frame.to_ndarray(format="rgb24").astype(int) for frame in video.decode(video=0)]
    assert len(shown) == round(0.3 * FRAMES_PER_S)
    assert np.abs(shown[0] - shown[-1]).max() > 30  # an agent has moved


def test_poses_are_interpolated_between_steps(getkey):
    from functools import partial

    import jax

    from simulator.atlas.load import load_atlas
    from simulator.config import SimulatorConfig
    from simulator.rollout import reset_worlds

    atlas = load_atlas(["Town01"])
    reset = jax.jit(partial(reset_worlds, config=SimulatorConfig(num_agents=4), num_worlds=1))
    before = reset(getkey(), atlas)
    after = before.replace(
        position=before.position + np.float32([2.0, -1.0, 0.5]),
        yaw=before.yaw + np.float32(2 * np.pi - 0.2),
        present=before.present.at[0, 3].set(False),
    )
    quarter = interpolate_poses(before, after, 0.25)
    np.testing.assert_allclose(
        (quarter.position - before.position)[0, :3], [[0.5, -0.25, 0.125]] * 3, atol=1e-3
    )
    np.testing.assert_allclose((quarter.yaw - before.yaw)[0, :3], -0.05, atol=1e-5)  # along the shorter arc
    np.testing.assert_array_equal(
        quarter.position[0, 3], before.position[0, 3]
    )  # an absent agent keeps its position
