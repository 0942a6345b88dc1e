"""Every class of the published taxonomies has a kind, or is left out on purpose."""

from __future__ import annotations

import pytest
from py123d.parser.registry import BOX_DETECTION_LABEL_REGISTRY

from adaptation.frames.class_names import LEFT_OUT, kind_of_class_name
from simulator.conventions import CAR, CYCLIST, PEDESTRIAN, STATIC, TRUCK
from simulator.logs.readers import argoverse2, nuscenes

TAXONOMIES = {
    "nuScenes": [
        "animal", "human.pedestrian.adult", "human.pedestrian.child", "human.pedestrian.construction_worker",
        "human.pedestrian.personal_mobility", "human.pedestrian.police_officer", "human.pedestrian.stroller",
        "human.pedestrian.wheelchair", "movable_object.barrier", "movable_object.debris",
        "movable_object.pushable_pullable", "movable_object.trafficcone", "static_object.bicycle_rack",
        "vehicle.bicycle", "vehicle.bus.bendy", "vehicle.bus.rigid", "vehicle.car", "vehicle.construction",
        "vehicle.emergency.ambulance", "vehicle.emergency.police", "vehicle.motorcycle", "vehicle.trailer",
        "vehicle.truck",
    ],
    "nuScenes detection": [
        "car", "truck", "construction_vehicle", "bus", "trailer", "barrier", "motorcycle", "bicycle",
        "pedestrian", "traffic_cone",
    ],
    "DDAD": [
        "Person", "Truck", "Car", "Bus/RV/Caravan", "Motorcycle", "Wheeled Slow", "Train", "Towed Object", "Bicycle",
        "Trailer",
    ],
    "KITTI": ["Car", "Van", "Truck", "Pedestrian", "Person_sitting", "Cyclist", "Tram", "Misc", "DontCare"],
    "Waymo": [
        "Vehicle", "Pedestrian", "Sign", "Cyclist", "Unknown", "TYPE_UNKNOWN", "TYPE_VEHICLE",
        "TYPE_PEDESTRIAN", "TYPE_SIGN", "TYPE_CYCLIST", "TYPE_UNSET", "TYPE_OTHER",
    ],
    "Argoverse 2": [
        "ANIMAL", "ARTICULATED_BUS", "BICYCLE", "BICYCLIST", "BOLLARD", "BOX_TRUCK", "BUS",
        "CONSTRUCTION_BARREL", "CONSTRUCTION_CONE", "DOG", "LARGE_VEHICLE", "MESSAGE_BOARD_TRAILER",
        "MOBILE_PEDESTRIAN_CROSSING_SIGN", "MOTORCYCLE", "MOTORCYCLIST", "OFFICIAL_SIGNALER", "PEDESTRIAN",
        "RAILED_VEHICLE", "REGULAR_VEHICLE", "SCHOOL_BUS", "SIGN", "STOP_SIGN", "STROLLER",
        "TRAFFIC_LIGHT_TRAILER", "TRUCK", "TRUCK_CAB", "VEHICULAR_TRAILER", "WHEELCHAIR", "WHEELED_DEVICE",
        "WHEELED_RIDER",
    ],
    "Argoverse 2 forecasting": [
        "vehicle", "pedestrian", "motorcyclist", "cyclist", "bus", "static", "background", "construction",
        "riderless_bicycle", "unknown",
    ],
    "nuPlan": ["vehicle", "pedestrian", "bicycle", "traffic_cone", "barrier", "czone_sign", "generic_object", "ego"],
    "PandaSet": [
        "Animals - Bird", "Animals - Other", "Bicycle", "Bus", "Car", "Cones", "Construction Signs",
        "Emergency Vehicle", "Medium-sized Truck", "Motorcycle", "Motorized Scooter",
        "Other Vehicle - Construction Vehicle", "Other Vehicle - Pedicab", "Other Vehicle - Uncommon", "Pedestrian",
        "Pedestrian with Object", "Personal Mobility Device", "Pickup Truck", "Pylons", "Road Barriers",
        "Rolling Containers", "Semi-truck", "Signs", "Temporary Construction Barriers", "Towed Object", "Train",
        "Tram / Subway", "Trolley",
    ],
    "KITTI-360": [
        "bicycle", "box", "bridge", "building", "bus", "car", "caravan", "driveway", "fence", "garage", "gate",
        "ground", "guard rail", "lamp", "motorcycle", "parking", "pedestrian", "person", "pole", "rail track", "rider",
        "road", "sidewalk", "smallpole", "stop", "terrain", "traffic light", "traffic sign", "trafficLight",
        "trafficSign", "trailer", "train", "trash bin", "trashBin", "truck", "tunnel", "unknown construction",
        "unknown object", "unknown vehicle", "unknownVehicle", "vegetation", "vending machine", "vendingMachine",
        "wall",
    ],
}  # fmt: skip


@pytest.mark.parametrize("taxonomy", TAXONOMIES)
def test_every_class_of_a_taxonomy_has_a_kind(taxonomy: str) -> None:
    names = TAXONOMIES[taxonomy]
    assert [name for name in names if kind_of_class_name(name) is None] == []
    assert {"KITTI": 9, "Argoverse 2": 30, "PandaSet": 28, "nuScenes": 23}.get(taxonomy, len(names)) == len(
        names
    )


def test_every_class_of_the_library_of_data_sets_has_a_kind() -> None:
    for taxonomy, labels in BOX_DETECTION_LABEL_REGISTRY.items():
        assert [label.name for label in labels if kind_of_class_name(label.name) is None] == [], taxonomy


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (CAR, ("Car", "VAN", "Pickup Truck", "TYPE_VEHICLE", "vehicle.emergency.police", "REGULAR_VEHICLE")),
        (
            TRUCK,
            ("Bus/RV/Caravan", "Tram / Subway", "vehicle.bus.bendy", "construction_vehicle", "Towed Object"),
        ),
        (CYCLIST, ("Cyclist", "vehicle.motorcycle", "WHEELED_RIDER", "Motorized Scooter", "rider")),
        (
            PEDESTRIAN,
            ("Person_sitting", "Wheeled Slow", "human.pedestrian.wheelchair", "Pedestrian with Object"),
        ),
        (STATIC, ("Sign", "TYPE_SIGN", "traffic_cone", "Animals - Bird", "trashBin", "czone_sign", "misc")),
        (LEFT_OUT, ("DontCare", "EGO", "building", "rail track")),
        (None, ("spaceship", "", "TYPE_", "...")),
    ],
)
def test_kinds_by_example(kind: int | None, names: tuple[str, ...]) -> None:
    assert [kind_of_class_name(name) for name in names] == [kind] * len(names)


def test_boxes_and_logged_tracks_of_a_class_are_of_one_kind() -> None:
    for name, kind in (argoverse2._SENSOR_KINDS | argoverse2._FORECAST_KINDS | nuscenes.CATEGORIES).items():
        if name != "vehicle.emergency":  # a prefix of two classes
            assert kind_of_class_name(name) == kind, name
