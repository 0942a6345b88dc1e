"""Load maps by name. Maps and their look-up tables are computed once and then read from a cache.

The cache is a folder ($GIGAPIXEL_CACHE, else ~/.cache/gigapixel) of HDF5 files. File names contain the name of the map,
the SHA-256 of its source and the versions of importer, schema and grids, so that stale files are never read.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from gigapixel.run_folder.cache import load_or_build
from simulator.roads.array_file import PackFormat, file_attributes, read_pack, write_pack
from simulator.roads.query_grids import GRIDS_VERSION, Grids
from simulator.roads.road_map import SCHEMA_VERSION, RoadMap
from simulator.roads.sources.opendrive import (
    IMPORTER_VERSION,
    find_source,
    import_town,
    known_towns,
    source_sha256,
)
from simulator.roads.sources.procedural_names import procedural_number, procedural_sha256

_log = logging.getLogger(__name__)
_GRIDS_FORMAT = PackFormat("gigapixel baked grids", "grids", GRIDS_VERSION)


def cache_folder() -> Path:
    """The folder of the cache; for a user without a home folder one in the folder for temporary files."""
    chosen = os.environ.get("GIGAPIXEL_CACHE")
    if chosen:
        return Path(chosen)
    try:
        return Path.home() / ".cache" / "gigapixel"
    except RuntimeError:
        return Path(tempfile.gettempdir()) / "gigapixel-cache"


def load_maps(names: Sequence[str]) -> list[RoadMap]:
    """Road maps by name of a town (also `Made-0`, see `simulator.roads.sources.procedural_town`), or by path of an
    OpenDRIVE file or of a scene pack (.h5) with one map."""
    if isinstance(names, str):
        raise ValueError(f"names is the single text {names!r}; expected a list such as [{names!r}]")
    return [_load_map(str(name)) for name in names]


def _load_map(name: str) -> RoadMap:
    if name.endswith((".h5", ".hdf5")):
        return _load_map_file(name)
    number = procedural_number(name)
    if number is not None:
        return _cached(name, procedural_sha256(name), lambda: _generate(number))
    if not known_towns() and "." not in name and "/" not in name:
        return _load_without_reader(name)
    source = find_source(name)
    town = source.name.removesuffix(".gz").removesuffix(".xodr")
    return _cached(town, source_sha256(source), lambda: import_town(source))


def _generate(number: int) -> RoadMap:
    # Imported here because it needs Shapely, which machines that only read the cache may lack.
    from simulator.roads.sources.procedural_town import generate_town

    return generate_town(number)


def _cached(town: str, sha256: str, build: Callable[[], RoadMap]) -> RoadMap:
    """The map from the cache, or built and stored there."""

    def build_and_say() -> RoadMap:
        _log.info("building %s", town)
        return build()

    entry = cache_folder() / f"{_key(town, sha256)}.h5"
    return load_or_build(entry, RoadMap.load, build_and_say, lambda path, road_map: road_map.save(path))


def _load_map_file(path: str) -> RoadMap:
    """The map in an HDF5 file. A pack of logged scenes is refused: each of its scenes has a map of its own."""
    scenes = file_attributes(path).get("num_scenes")
    if scenes is not None:
        raise ValueError(
            f"{path}: holds {scenes} logged scenes, not one map; expected a map here "
            "(simulator.reset.scene_stream makes worlds from logged scenes)"
        )
    return RoadMap.load(path)


def _load_without_reader(name: str) -> RoadMap:
    """The map from the cache alone, for machines without py123d: one imported elsewhere and copied into the cache."""
    entries = sorted(cache_folder().glob(f"{name}-*-s{SCHEMA_VERSION}i{IMPORTER_VERSION}.h5"))
    if not entries:
        raise ValueError(
            f"map {name!r} is not in {cache_folder()} and py123d, which imports maps, is not installed; "
            "pip install py123d or pass the path of a scene pack (.h5)"
        )
    return RoadMap.load(entries[0])


def load_grids(road_map: RoadMap) -> Grids:
    """Grids of a map by name, from the cache or computed and stored there."""
    return cached_grids(road_map, _key(road_map.name, road_map.source_sha256))


def _key(town: str, sha256: str) -> str:
    """Cache key of a map: its name, its source and the versions of importer and schema."""
    return f"{town}-{sha256[:16]}-s{SCHEMA_VERSION}i{IMPORTER_VERSION}"


def cached_grids(road_map: RoadMap, key: str) -> Grids:
    """Grids of a map, from the cache or computed and stored there. ``key`` identifies the map and its source."""
    entry = cache_folder() / f"{key}-grids{GRIDS_VERSION}.h5"
    return load_or_build(entry, _read_grids, lambda: _bake(road_map), _write_grids)


def _read_grids(entry: Path) -> Grids:
    return Grids(**read_pack(entry, _GRIDS_FORMAT, Grids))


def _bake(road_map: RoadMap) -> Grids:
    # Imported here because it needs Shapely, which machines that only read the cache may lack.
    from simulator.roads.bake_grids import bake_grids

    return bake_grids(road_map)


def _write_grids(entry: Path, grids: Grids) -> None:
    write_pack(entry, _GRIDS_FORMAT, grids)
