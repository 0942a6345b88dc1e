"""The nearest others are those that sorting all distances gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simulator.neighbours import nearest_others


@pytest.mark.parametrize(("agents", "count"), [(12, 5), (12, 11), (12, 20), (70, 20)])
def test_against_sorting(agents: int, count: int, rng: np.random.Generator) -> None:
    xy = rng.normal(0, 60, (agents, 2)).astype(np.float32)
    seen = rng.random((agents, agents)) < 0.7
    index, mask = map(np.asarray, jax.jit(nearest_others, static_argnums=2)(xy, jnp.asarray(seen), count))
    assert index.shape == mask.shape == (agents, count)
    apart = np.linalg.norm(xy[:, None] - xy, axis=-1)
    apart[~seen | np.eye(agents, dtype=bool)] = np.inf
    for agent in range(agents):
        expected = [j for j in np.argsort(apart[agent])[:count] if np.isfinite(apart[agent, j])]
        found = index[agent][mask[agent]].tolist()
        assert len(found) == len(set(found))
        assert set(found) == set(expected)
        if count < agents - 1:  # where all fit, no order is promised
            assert found == expected


def test_agents_at_one_place_are_all_found() -> None:
    """Equal distances neither hide an agent nor list one twice."""
    index, mask = nearest_others(jnp.zeros((6, 2)), jnp.ones((6, 6), bool), 3)
    assert bool(mask.all())
    for agent in range(6):
        found = set(np.asarray(index)[agent].tolist())
        assert len(found) == 3
        assert agent not in found
