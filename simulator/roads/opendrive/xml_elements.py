"""Open an OpenDRIVE file and read attributes of its elements, with errors that name the place in the file."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

LONGEST_SHOWN = 60
"""Longer text of a file is cut in messages."""
LARGEST_XML_BYTES = 2**30
"""A larger description is refused (CARLA's largest town has 90 MB)."""


@dataclass(frozen=True)
class Element:
    """An XML element and its place, e.g. "street.xodr: road 12, lane -1, width"."""

    node: ElementTree.Element
    place: str

    def child(self, name: str) -> Element | None:
        """The first child of this name."""
        found = self.node.find(name)
        return None if found is None else Element(found, self._inside(name))

    def children(self, *path: str) -> Iterator[Element]:
        """All elements at a path of child names."""
        for number, found in enumerate(self.node.iterfind("/".join(path))):
            name = found.get("id", str(number + 1))[:LONGEST_SHOWN]
            yield Element(found, self._inside(f"{path[-1]} {name}"))

    def _inside(self, what: str) -> str:
        return f"{self.place}, {what}" if ": " in self.place else f"{self.place}: {what}"

    def text(self, name: str, default: str | None = None) -> str:
        """An attribute. Raises ValueError where it is absent and no default is given."""
        value = self.node.get(name)
        if value is not None:
            return value.strip()
        if default is None:
            raise ValueError(f"{self.place}: attribute {name} is missing")
        return default

    def number(self, name: str, default: float | None = None) -> float:
        """An attribute as a number. Raises ValueError where it is absent without a default, or no finite number."""
        value = self.node.get(name)
        if value is None or (value.strip() == "" and default is not None):
            if default is None:
                raise ValueError(f"{self.place}: attribute {name} is missing; expected a number")
            return default
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or abs(number) > 1e30:
            raise ValueError(f"{self.place}: {name} is {shown(value)}; expected a finite number")
        return number

    def whole(self, name: str) -> int:
        """An attribute as a whole number. Raises ValueError where it is none."""
        number = self.number(name)
        if number != int(number):
            raise ValueError(f"{self.place}: {name} is {shown(self.text(name))}; expected a whole number")
        return int(number)

    def numbers(self, *names: str) -> tuple[float, ...]:
        """Several attributes as numbers; absent ones are 0, as the standard's newer versions allow."""
        return tuple(self.number(name, 0.0) for name in names)


def shown(text: str) -> str:
    """Text of a file in quotes, cut to LONGEST_SHOWN, for messages."""
    return repr(text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "...")


def read_xml(path: Path) -> Element:
    """The root element of a .xodr file, plain or compressed by gzip, without XML namespaces.

    Raises ValueError for a file that is damaged, larger than LARGEST_XML_BYTES or no OpenDRIVE description.
    """
    content = _content(path)
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError) as error:
        raise ValueError(
            f"{path}: not a readable OpenDRIVE map ({error}); expected an intact .xodr[.gz]"
        ) from error
    if "}" in root.tag:
        for node in root.iter():
            node.tag = node.tag.rpartition("}")[2] if isinstance(node.tag, str) else node.tag
    if root.tag != "OpenDRIVE":
        raise ValueError(f"{path}: the root element is <{root.tag[:40]}>; expected <OpenDRIVE>")
    return Element(root, str(path))


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            content = file.read(LARGEST_XML_BYTES + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(
            f"{path}: not a readable OpenDRIVE map ({error}); expected an intact .xodr[.gz]"
        ) from error
    if len(content) > LARGEST_XML_BYTES:
        raise ValueError(f"{path}: holds more than {LARGEST_XML_BYTES} bytes of XML; cut the map into tiles")
    return content
