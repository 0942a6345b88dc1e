"""No agent starts where a lane that opens at the edge of the road is narrower than it is."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import jax
import numpy as np

from simulator.atlas.edge_distance import corner_edge_distance
from simulator.atlas.load import load_atlas
from simulator.config import SimulatorConfig
from simulator.rollout import reset_worlds

CASE = Path(__file__).parents[1] / "roads" / "opendrive_cases" / "stadium.xodr"


def test_agents_start_on_the_road(tmp_path: Path) -> None:
    """The right lane of a straight of 80 m opens from no width."""
    straight, rest = CASE.read_text().split("</road>", 1)
    lane = straight.rindex('<width sOffset="0" a="3.5" b="0"')
    straight = straight[:lane] + straight[lane:].replace('a="3.5" b="0"', f'a="0" b="{3.5 / 80}"', 1)
    path = tmp_path / "opens.xodr"
    path.write_text(f"{straight}</road>{rest}")
    atlas, config = load_atlas([str(path)]), SimulatorConfig(num_agents=8)
    worlds = jax.jit(partial(reset_worlds, config=config, num_worlds=64))(jax.random.key(0), atlas)
    edge = np.asarray(jax.vmap(lambda state: corner_edge_distance(state, atlas, config))(worlds)).min(axis=-1)
    started = np.asarray(worlds.spawned)
    assert started.mean() > 0.8
    assert edge[started].min() > -config.offroad_margin_m
