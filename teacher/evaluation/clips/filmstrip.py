"""A filmstrip of one episode on a map, from above."""

import jax
from PIL import Image

from gigapixel.run_folder.image_grid import GridCell, image_grid, split_rows
from simulator.atlas.load import load_atlas
from simulator.draw_state import busiest_position, draw_state, world_of
from simulator.roads.sources.map_cache import load_maps
from simulator.rollout import rollout_worlds
from teacher.evaluation.config import POLICY_DRIVER
from teacher.evaluation.episodes import policy_fn_for, set_controller
from teacher.evaluation.towns import evaluation_simulator, start_worlds
from teacher.evaluation.traffic import SELF, with_traffic
from teacher.policy import Policy

NUM_CELLS = 6
FILMSTRIP_EXTENT_M = 110.0
CELL_PX = 400


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
    """Six instants of one episode, evenly spaced over ``seconds``, centred on the densest traffic at the start."""
    road_map, atlas = load_maps([map_name])[0], load_atlas([map_name])
    config = with_traffic(evaluation_simulator(policy, num_agents, seconds), traffic, share)
    key, reset_key = jax.random.split(jax.random.key(seed))
    worlds = set_controller(start_worlds(reset_key, atlas, config, 1), driver)
    centre = busiest_position(world_of(worlds, 0))
    steps = max(1, config.episode_steps // (NUM_CELLS - 1))
    policy_fn = policy_fn_for(driver, policy, atlas, config, False, worlds.scenario.has_faults)
    drive = jax.jit(lambda key, worlds: rollout_worlds(policy_fn, key, worlds, atlas, config, steps)[0])
    cells = []
    for _ in range(NUM_CELLS):
        image = draw_state(world_of(worlds, 0), road_map, atlas, config, centre, FILMSTRIP_EXTENT_M, CELL_PX)
        cells.append(GridCell(image, f"{float(worlds.step[0] * config.timestep_s):.0f} s"))
        key, step_key = jax.random.split(key)
        worlds = drive(step_key, worlds)
    return image_grid(split_rows(cells, 3))
