"""OpenDRIVE files and maps in HDF5: any change of a good file gives a map that can be driven on, or a sentence."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.roads.bake_grids import bake_grids
from simulator.roads.road_map import RoadMap
from simulator.roads.sources.map_cache import load_maps
from simulator.roads.sources.opendrive import import_town
from tests.fuzz import hdf5_changes, xml_changes
from tests.fuzz.byte_damage import ByteDamage, byte_damage
from tests.fuzz.judge import Judge

CASES = Path(__file__).resolve().parents[1] / "simulator" / "roads" / "opendrive_cases"
NAMES = (
    "stadium",
    "theta",
    "lights_on_approaches",
    "two_sections",
    "crosswalk_outlines",
    "shifted",
    "arc_length",
    "utm",
)
VARIED = """<OpenDRIVE><header revMajor="1" revMinor="7"/>
<road id="1" length="100" junction="-1" rule="RHT"><link><successor elementType="road" elementId="2"
contactPoint="start"/></link><type s="0"><speed max="50" unit="km/h"/></type><planView>
<geometry s="0" x="0" y="0" hdg="0" length="20"><line/></geometry>
<geometry s="20" x="20" y="0" hdg="0" length="40"><spiral curvStart="0" curvEnd="0.02"/></geometry>
<geometry s="60" x="58.98" y="5.26" hdg="0.4" length="40"><poly3 a="0" b="0" c="0.001" d="0"/></geometry></planView>
<elevationProfile><elevation s="0" a="1" b="0.01" c="0.0001" d="0"/></elevationProfile><lateralProfile>
<superelevation s="0" a="0.02" b="0" c="0" d="0"/><crossfall side="both" s="0" a="0.01" b="0" c="0" d="0"/>
<shape s="0" t="-4" a="0.1" b="0" c="0" d="0"/><shape s="50" t="-4" a="0" b="0.01" c="0" d="0"/></lateralProfile>
<lanes><laneOffset s="0" a="0.5" b="0.01" c="0" d="0"/><laneSection s="0" singleSide="false"><left>
<lane id="2" type="sidewalk" level="true"><width sOffset="0" a="2" b="0" c="0" d="0"/>
<height sOffset="0" inner="0.1" outer="0.12"/></lane><lane id="1" type="driving"><border sOffset="0" a="4" b="0" c="0"
d="0"/><speed sOffset="40" max="30" unit="mph"/></lane></left><center><lane id="0" type="none"><roadMark sOffset="0"
type="broken" color="yellow"><type name="b" width="0.1"><line length="3" space="6" tOffset="0.1" sOffset="0"/></type>
</roadMark></lane></center><right><lane id="-1" type="driving"><link><successor id="-1"/></link><width sOffset="0"
a="3.5" b="0" c="0" d="0"/><roadMark sOffset="0" type="solid broken" color="white"><explicit><line length="5"
tOffset="0" sOffset="10"/></explicit></roadMark></lane><lane id="-2" type="bus"><width sOffset="0" a="3" b="0.01"
c="0" d="0"/></lane></right></laneSection><laneSection s="60"><right><lane id="-1" type="entry"><link><predecessor
id="-1"/></link><width sOffset="0" a="3.5" b="0" c="0" d="0"/></lane></right></laneSection></lanes><objects>
<object id="7" type="crosswalk" name="zebra" s="30" t="0" zOffset="0" hdg="1.57" length="7" width="3"><outline>
<cornerLocal u="-2" v="-3" z="0"/><cornerLocal u="2" v="-3" z="0"/><cornerLocal u="2" v="3" z="0"/></outline></object>
</objects><signals><signal id="9" s="55" t="-4" orientation="+" type="206" dynamic="no"><validity fromLane="-1"
toLane="-1"/></signal><signalReference id="10" s="90" t="0" orientation="-"/></signals></road>
<road id="2" length="5000" junction="-1"><link><predecessor elementType="road" elementId="1" contactPoint="end"/></link>
<planView><geometry s="0" x="94.5" y="21.5" hdg="0.48" length="5000"><paramPoly3 pRange="arcLength" aU="0" bU="1" cU="0"
dU="0" aV="0" bV="0" cV="0.0001" dV="0"/></geometry></planView><lanes><laneSection s="0"><right><lane id="-1"
type="driving"><link><predecessor id="-1"/></link><width sOffset="0" a="3.5" b="0" c="0" d="0"/></lane></right>
</laneSection></lanes><signals><signal id="10" s="1000" t="0" orientation="none" type="1000001" dynamic="yes"/>
</signals></road><controller id="5"><control signalId="10"/></controller></OpenDRIVE>"""
"""Kinds of curves and records that the other files lack."""
DOCUMENTS = [(CASES / f"{name}.xodr").read_bytes() for name in NAMES] + [VARIED.encode()]


def _use(road_map: RoadMap, folder: Path) -> None:
    """Save the map, read it again, and compute the tables that driving needs."""
    road_map.save(folder / "map.h5")
    grids = bake_grids(RoadMap.load(folder / "map.h5"))
    assert np.isfinite(grids.drivable_distance_m).all()
    assert grids.lane_candidates.max() < len(grids.lane_samples)


@given(
    which=st.integers(0, len(DOCUMENTS) - 1),
    changes=xml_changes.xml_changes() | byte_damage(),
    packed=st.booleans(),
)
def test_opendrive(
    which: int,
    changes: list[xml_changes.XmlChange] | ByteDamage,
    packed: bool,
    judge: Judge,
    tmp_path: Path,
) -> None:
    document = DOCUMENTS[which]
    path = tmp_path / ("road.xodr.gz" if packed else "road.xodr")
    if isinstance(changes, ByteDamage):
        content = changes.applied(gzip.compress(document, 1, mtime=0) if packed else document)
    else:
        content = xml_changes.changed(document, changes)
        content = gzip.compress(content, 1, mtime=0) if packed else content
    path.write_bytes(content)
    judge(lambda: _use(import_town(path), tmp_path), path)
    assert {one.name for one in tmp_path.iterdir()} <= {"road.xodr", "road.xodr.gz", "map.h5"}


@pytest.fixture(scope="module")
def map_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("maps") / "theta.h5"
    import_town(CASES / "lights_on_approaches.xodr").save(path)
    return path


@given(changes=hdf5_changes.hdf5_changes() | byte_damage())
def test_map_files(
    changes: list[hdf5_changes.Hdf5Change] | ByteDamage, judge: Judge, map_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "road.h5"
    shutil.copy(map_file, path)
    hdf5_changes.change(path, changes)
    judge(lambda: _use(load_maps([str(path)])[0], tmp_path), path)
