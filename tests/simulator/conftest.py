"""Small worlds shared by the simulator's tests."""

import pytest

from simulator.atlas import RoadAtlas
from simulator.config import SimulatorConfig
from simulator.maps import load_atlas


@pytest.fixture(scope="session")
def towns() -> RoadAtlas:
    """Two towns in one atlas: a flat one and one with bridges."""
    return load_atlas(["Town02", "Town04"])


@pytest.fixture(scope="session")
def small() -> SimulatorConfig:
    """Eight agents at the step the shipped policy uses."""
    return SimulatorConfig(
        timestep_s=0.25, num_agents=8, no_lights_share=0.0, removed_light_share=0.0, always_green_share=0.0
    )
