"""OpenDRIVE 1.4 to 1.8 road descriptions: the XML, the geometry it defines, and the `RoadMap` that they become."""
