"""YAML files that people write. Whatever is wrong with one is told in a sentence that names the file and the line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from gigapixel.run_folder.config.nearest import did_you_mean


class DoubledKeyError(yaml.YAMLError):
    """A mapping with a key twice, of which the last would win in silence."""


class StrictLoader(yaml.SafeLoader):
    """PyYAML's safe loader, which also refuses a key that is given twice and reads 1e-3 as a number."""

    def get_single_node(self) -> yaml.Node | None:
        """The document. Raises DoubledKeyError for a mapping in it that has a key twice."""
        document = super().get_single_node()
        refuse_doubled_keys(document, set())
        return document


# YAML 1.2 and every other reader take 1e-3 for a number, PyYAML for text.
StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def refuse_doubled_keys(node: yaml.Node | None, seen: set[int]) -> None:
    """Raises DoubledKeyError, which names both lines, where a mapping of a document has a key twice; `seen` holds the
    nodes that have been looked at, since an alias stands for a whole node."""
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    if not isinstance(node, yaml.MappingNode):
        for entry in node.value if isinstance(node, yaml.SequenceNode) else ():
            refuse_doubled_keys(entry, seen)
        return
    lines: dict[str, int] = {}
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
            line = key.start_mark.line + 1
            if key.value in lines:
                raise DoubledKeyError(
                    f"the key {key.value!r} is given twice, in lines {lines[key.value]} and {line}"
                )
            lines[key.value] = line
        refuse_doubled_keys(value, seen)


def read_yaml(path: str | Path) -> Any:
    """The content of a YAML file.

    Raises FileNotFoundError with names that are similar, other OSErrors, and ValueError for a file that is not UTF-8,
    not YAML, or has a key twice.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder; expected a YAML file")
    if not path.exists():
        there = sorted(str(file) for file in path.parent.glob("*.y*ml")) if path.parent.is_dir() else []
        raise FileNotFoundError(f"{path}: no such file; expected a YAML file{did_you_mean(str(path), there)}")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: byte {error.start} is not UTF-8; expected a YAML file, which is text"
        ) from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, source: str) -> Any:
    """The content of YAML text. Raises ValueError that names `source` where it is not YAML or has a key twice."""
    try:
        return yaml.load(text, Loader=StrictLoader)
    except DoubledKeyError as error:
        raise ValueError(f"{source}: {error}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{source}, line {mark.line + 1}" if mark else source
        raise ValueError(f"{where}: is not YAML ({error.problem or error.context})") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date such as 2020-13-45
        raise ValueError(f"{source}: is not YAML ({' '.join(str(error).split())})") from error


def read_mapping(path: str | Path) -> dict[str, Any]:
    """The names and values in a YAML file. Raises what `read_yaml` does, and ValueError for a file of another kind."""
    content = read_yaml(path)
    expected = "expected names with values, such as `seed: 0`"
    if content is None:
        raise ValueError(f"{path}: is empty; {expected}")
    if not isinstance(content, dict):
        shown = repr(content) if len(repr(content)) <= 60 else repr(content)[:57] + "..."
        raise ValueError(f"{path}: holds {type(content).__name__} {shown}; {expected}")
    for key in content:
        if not isinstance(key, str):
            raise ValueError(f"{path}: the name {key!r} is not text; {expected}")
    return content
