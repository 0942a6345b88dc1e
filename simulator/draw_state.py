"""Draw a world state: its agents and lights as the arrays that `simulator.drawing.top_down` takes."""

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from simulator.atlas.road_atlas import RoadAtlas
from simulator.config import SimulatorConfig
from simulator.drawing.top_down import draw_world
from simulator.roads.road_map import RoadMap
from simulator.state import POLICY, WorldState
from simulator.traffic_lights import light_states


def world_of(states: WorldState, index: int) -> WorldState:
    """World ``index`` of a batch, without the leading axis."""
    return jax.tree.map(lambda leaf: leaf[index], states)


def agents_to_draw(state: WorldState) -> dict[str, np.ndarray]:
    """The agents of one world as `draw_world` takes them, fields [agents, ...]; agents that crashed are marked."""
    return {
        "position": np.asarray(state.position),
        "yaw": np.asarray(state.yaw),
        "size": np.asarray(state.scenario.size),
        "kind": np.asarray(state.scenario.kind),
        "present": np.asarray(state.present),
        "crashed": np.asarray(state.present & ~state.active & (state.scenario.control == POLICY)),
    }


def lights_to_draw(state: WorldState, atlas: RoadAtlas, config: SimulatorConfig) -> np.ndarray:
    """Light state of every stop line on the world's map, [stops of that map] int32."""
    first, count = int(atlas.map_stop_start[state.map_id]), int(atlas.map_stop_count[state.map_id])
    return np.asarray(light_states(state, jnp.arange(first, first + count, dtype=jnp.int32), atlas, config))


def draw_state(
    state: WorldState,
    road_map: RoadMap,
    atlas: RoadAtlas,
    config: SimulatorConfig,
    centre: np.ndarray | None = None,
    extent_m: float | None = None,
    size_px: int | tuple[int, int] = 600,
) -> Image.Image:
    """One world from above, ``extent_m`` metres across around ``centre`` (x, y), or the complete map."""
    lights = lights_to_draw(state, atlas, config)
    return draw_world(
        road_map, agents_to_draw(state), lights, centre=centre, extent_m=extent_m, size_px=size_px
    )


def busiest_position(state: WorldState, radius_m: float = 45.0) -> np.ndarray:
    """Position (x, y; m) [2] of the present agent with the most others within ``radius_m``."""
    xy = np.asarray(state.position)[:, :2]
    present = np.asarray(state.present)
    near = np.linalg.norm(xy[:, None] - xy[None], axis=-1) < radius_m
    others = np.where(present, (near & present[None]).sum(axis=1), -1)
    return xy[int(np.argmax(others))]
