"""docs/architecture.md: every path that it names exists, and the name beside a path is in that file."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PATH = re.compile(r"`((?:[a-z_0-9]+/)+[a-z_0-9]+\.(?:py|yaml))`(?:: `([A-Za-z_]+)`)?")


def test_paths_and_names_of_the_map_exist() -> None:
    found = PATH.findall((REPOSITORY / "docs" / "architecture.md").read_text())
    assert len(found) > 30
    for path, name in found:
        file = REPOSITORY / path
        assert file.is_file(), path
        assert not name or re.search(rf"\b{name}\b", file.read_text()), f"{path} has no {name}"


def test_every_package_says_what_lives_there() -> None:
    for package in ("simulator", "teacher", "renderer", "student", "adaptation", "gigapixel"):
        for init in (REPOSITORY / package).rglob("__init__.py"):
            first = init.read_text().split("\n", 1)[0]
            assert re.match(r'^"""[A-Z`].{15,}', first), f"{init.relative_to(REPOSITORY)}: {first!r}"


def test_folders_hold_about_a_dozen_files() -> None:
    """No admired code base has a folder with many more (the widest of ours had 49)."""
    for package in ("simulator", "teacher", "renderer", "student", "adaptation", "gigapixel"):
        for folder in {file.parent for file in (REPOSITORY / package).rglob("*.py")}:
            files = [file.name for file in folder.glob("*.py") if file.name != "__init__.py"]
            assert len(files) <= 14, f"{folder.relative_to(REPOSITORY)} holds {len(files)} files"
