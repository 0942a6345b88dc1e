"""Changes of XML: elements dropped, doubled, emptied, moved or renamed, attributes removed or given odd values."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from hypothesis import strategies as st

ODD_TEXTS = (
    "", "x", "NaN", "inf", "-1", "0", "1", "0.5", "-0.001", "1e-30", "1e3", "20000", "150000", "1e9", "1e30", "-1e30",
    "1e400", str(10**400), "true", "none", "both", "curb", "junction", "ünicöde",
)  # fmt: skip
_ACTIONS = ("attribute",) * 6 + ("without", "drop", "double", "empty", "move", "rename")


@dataclass(frozen=True)
class XmlChange:
    """One change of the element at `place` (of all, counted around); `which` is the attribute or the other element."""

    place: int
    which: int
    action: str
    text: str

    def apply(self, root: ElementTree.Element) -> None:
        """Change the document in place; a change that an earlier one has made impossible is left out."""
        nodes = list(root.iter())
        node = nodes[self.place % len(nodes)]
        other = nodes[self.which % len(nodes)]
        parent = next((one for one in nodes if node in list(one)), None)
        name = sorted(node.attrib)[self.which % len(node.attrib)] if node.attrib else None
        if self.action == "attribute":
            if name:
                node.set(name, self.text)
        elif self.action == "without":
            node.attrib.pop(name or "", None)
        elif self.action == "empty":
            node.clear()
        elif self.action == "rename":
            node.tag = other.tag
        elif parent is not None:
            if self.action == "double":
                parent.insert(0, copy.deepcopy(node))
            elif self.action == "drop":
                parent.remove(node)
            elif other not in list(node.iter()):  # move
                parent.remove(node)
                other.append(node)


def xml_changes() -> st.SearchStrategy[list[XmlChange]]:
    """One to six changes."""
    place = st.integers(0, 2**20)
    change = st.builds(XmlChange, place, place, st.sampled_from(_ACTIONS), st.sampled_from(ODD_TEXTS))
    return st.lists(change, min_size=1, max_size=6)


def changed(document: bytes, changes: Sequence[XmlChange]) -> bytes:
    """The document with the changes."""
    root = ElementTree.fromstring(document)
    for change in changes:
        change.apply(root)
    return ElementTree.tostring(root)
