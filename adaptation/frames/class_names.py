"""Class names of boxes in the published taxonomies, and the kind of box that each is drawn as.

Names are compared without case, spaces and punctuation, and without the prefix `TYPE_` of Waymo's enumerations, so
that `Bus/RV/Caravan`, `trafficLight`, `vehicle.bus.rigid`, `REGULAR_VEHICLE` and `TYPE_SIGN` are found. Sources:

    nuScenes       its 23 classes and the 10 of its detection task (nuscenes-devkit, docs/instructions_nuscenes.md)
    DDAD, DGP      the ontologies of DDAD and of Toyota's other data sets in DGP's format
    KITTI          the object development kit's readme
    KITTI-360      kitti360scripts, helpers/labels.py
    Waymo          perception: label.proto; motion: scenario.proto
    Argoverse 2    the 30 categories of the sensor data set, and the 10 of motion forecasting
    nuPlan         TrackedObjectType of its development kit
    PandaSet       the 28 classes of its cuboids
    py123d         the classes that it converts all of these to, and those of its other data sets

Cars, vans, pickups and emergency vehicles are drawn as CAR; lorries, buses, caravans, trailers and vehicles on rails as
TRUCK; everything on two wheels, its riders and small vehicles that carry one person as CYCLIST; people, with a
pushchair or in a wheelchair too, as PEDESTRIAN; all other objects, animals among them, as STATIC.
"""

from __future__ import annotations

import re

from simulator.conventions import CAR, CYCLIST, PEDESTRIAN, STATIC, TRUCK

LEFT_OUT = -1
"""Instead of a kind: boxes of the class are not drawn."""

_NAMES: dict[int, tuple[str, ...]] = {
    CAR: (
        "Car", "Van", "Vehicle", "Pickup Truck", "Emergency Vehicle", "Automobile", "Other Vehicle",
        "Other Vehicle - Uncommon", "Unknown Vehicle", "REGULAR_VEHICLE",
        "vehicle.car", "vehicle.emergency.ambulance", "vehicle.emergency.police",
    ),
    TRUCK: (
        "Truck", "Heavy Truck", "Medium-sized Truck", "Semi-truck", "BOX_TRUCK", "TRUCK_CAB", "LARGE_VEHICLE",
        "vehicle.truck", "Construction Vehicle", "vehicle.construction", "Other Vehicle - Construction Vehicle",
        "Bus", "School Bus", "Trolley Bus", "ARTICULATED_BUS", "vehicle.bus", "vehicle.bus.bendy",
        "vehicle.bus.rigid", "Bus/RV/Caravan", "Caravan/RV", "Caravan", "RV",
        "Trailer", "vehicle.trailer", "VEHICULAR_TRAILER", "Towed Object",
        "Train", "Tram", "Trolley", "Tram / Subway", "Train or Tram Car", "RAILED_VEHICLE", "On Rails",
    ),
    CYCLIST: (
        "Cyclist", "Bicycle", "Bicyclist", "Motorcycle", "Motorcyclist", "Rider", "Other Rider", "Riderless Bicycle",
        "Two Wheeler", "Motorized Scooter", "vehicle.bicycle", "vehicle.motorcycle",
        "vehicle.personal_mobility.bycicle",  # spelled so in py123d's list of nuReasoning's classes
        "Other Vehicle - Pedicab", "WHEELED_DEVICE", "WHEELED_RIDER",
    ),
    PEDESTRIAN: (
        "Pedestrian", "Person", "Person_sitting", "Human", "Pedestrian with Object", "OFFICIAL_SIGNALER",
        "Stroller", "Wheelchair", "Wheeled Slow", "Personal Mobility Device",
        "human.pedestrian", "human.pedestrian.adult", "human.pedestrian.child",
        "human.pedestrian.construction_worker", "human.pedestrian.personal_mobility",
        "human.pedestrian.police_officer", "human.pedestrian.stroller", "human.pedestrian.wheelchair",
    ),
    STATIC: (
        "Misc", "Other", "Unknown", "Unset", "Static", "Static Object", "Background", "Construction",
        "Generic Object", "Unknown Object", "Unknown Construction", "Movable Object", "Other Movable",
        "movable_object.debris", "movable_object.pushable_pullable", "Debris", "Protruding Object", "other.other",
        "Rolling Containers", "vehicle.door",
        "Barrier", "movable_object.barrier", "Road Barriers", "Temporary Construction Barriers", "BOLLARD",
        "Wall", "Fence", "Guard Rail", "Gate",
        "Traffic Cone", "movable_object.trafficcone", "construction.traffic_cone", "other.trafficcone", "Cones",
        "Pylons", "CONSTRUCTION_CONE", "CONSTRUCTION_BARREL",
        "Sign", "Signs", "Traffic Sign", "STOP_SIGN", "Stop", "Construction Signs", "czone_sign",
        "MOBILE_PEDESTRIAN_CROSSING_SIGN", "MESSAGE_BOARD_TRAILER", "TRAFFIC_LIGHT_TRAILER",
        "other.temporary_trafficsign",
        "Traffic Light", "Lamp", "Pole", "Smallpole", "Pole Group", "Trash Bin", "Vending Machine", "Box",
        "static_object.bicycle_rack",
        "Animal", "Animals - Bird", "Animals - Other", "Bird", "Ground Animal", "DOG",
    ),
    # No objects: areas that KITTI asks to ignore, the recording car itself, and KITTI-360's surfaces, vegetation and
    # structures that one drives under or that the rendered worlds do not have.
    LEFT_OUT: (
        "DontCare", "Ego", "vehicle.ego", "Ego Vehicle",
        "Road", "Sidewalk", "Parking", "Driveway", "Rail Track", "Ground", "Unknown Ground", "Terrain",
        "Vegetation", "Sky", "Bridge", "Tunnel", "Building", "Garage",
    ),
}  # fmt: skip


def _plain(name: str) -> str:
    """The letters and digits of a name in lower case, without Waymo's prefix."""
    return re.sub(r"[\W_]", "", name.casefold().removeprefix("type_"))


_KIND_OF_PLAIN_NAME = {_plain(name): kind for kind, names in _NAMES.items() for name in names}


def kind_of_class_name(name: str) -> int | None:
    """The kind that boxes of a class are drawn as, CAR to STATIC of `simulator.conventions`; LEFT_OUT for classes that
    are no objects; None for a name of no known taxonomy."""
    return _KIND_OF_PLAIN_NAME.get(_plain(name))
