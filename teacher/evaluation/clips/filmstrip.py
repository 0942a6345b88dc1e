"""A drive through a town as a filmstrip from above."""

import jax
from PIL import Image

from simulator.drawing.draw_state import busiest_place, draw_state, world_of
from simulator.roads.map_cache import load_atlas, load_maps
from simulator.rollout import roll
from teacher.evaluation.clips.image_grid import in_a_row
from teacher.evaluation.config import POLICY_DRIVER
from teacher.evaluation.episodes import choose_for, put_at_the_wheel
from teacher.evaluation.towns import evaluation_simulator, start_worlds
from teacher.evaluation.traffic import SELF, in_traffic
from teacher.policy import Policy

PANELS = 6
EXTENT_M = 110.0
PANEL_PX = 400


def filmstrip(
    policy: Policy,
    map_name: str,
    num_agents: int,
    seconds: float,
    seed: int,
    traffic: str = SELF,
    driver: str = POLICY_DRIVER,
    share: float | None = None,
) -> Image.Image:
    """Six instants of one episode, evenly spaced over ``seconds``, around its busiest place at the start."""
    road_map, atlas = load_maps([map_name])[0], load_atlas([map_name])
    config = in_traffic(evaluation_simulator(policy, num_agents, seconds), traffic, share)
    key, reset_key = jax.random.split(jax.random.key(seed))
    worlds = put_at_the_wheel(start_worlds(reset_key, atlas, config, 1), driver)
    centre = busiest_place(world_of(worlds, 0))
    steps = max(1, config.episode_steps // (PANELS - 1))
    choose = choose_for(driver, policy, atlas, config, False, worlds.scenario.has_noise)
    drive = jax.jit(lambda key, worlds: roll(key, worlds, choose, atlas, config, steps)[0])
    panels = []
    for _ in range(PANELS):
        panels.append(
            (
                worlds.step[0] * config.timestep_s,
                draw_state(world_of(worlds, 0), road_map, atlas, config, centre, EXTENT_M, PANEL_PX),
            )
        )
        key, step_key = jax.random.split(key)
        worlds = drive(step_key, worlds)
    return in_a_row([picture for _, picture in panels], [f"{float(time):.0f} s" for time, _ in panels])
