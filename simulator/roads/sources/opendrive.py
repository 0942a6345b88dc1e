"""OpenDRIVE maps by name (CARLA's towns) or path (any .xodr or .xodr.gz file)."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
from pathlib import Path

from gigapixel.run_folder.exit_codes import reason_of
from simulator.roads.road_map import RoadMap

IMPORTER_VERSION = 7

_log = logging.getLogger(__name__)


def import_town(name_or_path: str | Path, strict: bool = False) -> RoadMap:
    """Import a CARLA town by name ('Town01') or any .xodr or .xodr.gz file by path.

    What the map lacks is logged in one line per kind and kept in `RoadMap.left_out`. Raises ValueError for a file that
    cannot be understood; with `strict` also where anything was left out.
    """
    # Imported here because it needs Shapely, which machines that only read the cache may lack.
    from simulator.roads.opendrive.import_map import read_opendrive

    path = find_source(name_or_path)
    try:
        road_map, report = read_opendrive(
            path, source_sha256(path), f"gigapixel opendrive {IMPORTER_VERSION}"
        )
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from error
    except OSError:
        raise
    except Exception as error:  # whatever else a file makes the code beneath raise
        raise ValueError(
            f"{path}: malformed ({reason_of(error)}); expected an OpenDRIVE description"
        ) from error
    for line in report.lines():
        _log.warning("%s: %s", road_map.name, line)
    if strict and report.left_out:
        raise ValueError(f"{path}: left out: {report.summary()}; import it without --strict to accept that")
    return road_map


def find_source(name_or_path: str | Path) -> Path:
    """Path of the OpenDRIVE file of a town name or path. Raises ValueError for an unknown name, FileNotFoundError for
    a missing file."""
    path = Path(name_or_path)
    if path.suffix in (".xodr", ".gz") or len(path.parts) > 1:
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such OpenDRIVE file; expected a .xodr or .xodr.gz file")
        return path
    towns = known_towns()
    if str(name_or_path) not in towns:
        raise ValueError(
            f"map {str(name_or_path)!r} is unknown; expected one of {', '.join(towns)}, Made-<number> or a path to a "
            ".xodr[.gz] file"
        )
    return towns[str(name_or_path)]


def known_towns() -> dict[str, Path]:
    """CARLA's towns bundled with py123d, by name. Empty where py123d is not installed."""
    spec = importlib.util.find_spec("py123d")  # does not import it
    if spec is None or not spec.submodule_search_locations:
        return {}
    folder = Path(spec.submodule_search_locations[0]) / "parser" / "opendrive" / "carla_maps"
    return {path.name.removesuffix(".xodr.gz"): path for path in sorted(folder.glob("Town*.xodr.gz"))}


def source_sha256(path: Path) -> str:
    """SHA-256 of the file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
