"""Outputs are checked before the work that they are to hold: nobody waits minutes for what cannot be written."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from gigapixel.run_folder.atomic import temporary_path

PACK_SUFFIXES = (".h5", ".hdf5")
JSON_SUFFIXES = (".json", "")


def check_output_file(
    option: str, path: str | os.PathLike[str] | None, suffixes: Collection[str] = (), shown: str = ""
) -> None:
    """Raises ValueError or OSError, naming the option, unless a file can be written at `path`; None is accepted.

    A file is written beside its place and removed again; so are folders that it needs.

    Args:
        option: name of the option, such as `--output`.
        path: its value.
        suffixes: accepted endings in lower case; none accepts every one.
        shown: the endings in words; by default all of `suffixes`.
    """
    if path is None:
        return
    path = Path(path)
    if suffixes and path.suffix.lower() not in suffixes:
        raise ValueError(f"{option} {path} must end in {shown or ' or '.join(filter(None, suffixes))}")
    if path.is_dir():
        raise IsADirectoryError(f"{option} {path} is a folder; give the name of a file")
    if path.exists() and not path.is_file():
        raise ValueError(f"{option} {path} is a device or a pipe; give the name of a file")
    _try_to_write(option, path, path)


def check_output_picture(option: str, path: str | os.PathLike[str] | None) -> None:
    """Raises as `check_output_file` does, and for an ending that names no format of pictures."""
    from PIL import Image

    formats = Image.registered_extensions()
    writable = {suffix for suffix, name in formats.items() if name in Image.SAVE}
    check_output_file(option, path, writable, ".png or the ending of another format of pictures")


def check_output_folder(option: str, path: str | os.PathLike[str] | None) -> None:
    """Raises OSError, naming the option, unless files can be written into a folder at `path`, which need not be there
    yet; None is accepted."""
    if path is None:
        return
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"{option} {path} is a file; give a folder")
    _try_to_write(option, path, path / "output")


def _try_to_write(option: str, path: Path, file: Path) -> None:
    made: list[Path] = []
    probe = temporary_path(file)
    try:
        for folder in reversed(file.parents):
            if not folder.exists():
                folder.mkdir()
                made.append(folder)
        try:
            probe.write_bytes(b"\0")
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(f"{option} {path} cannot be written ({error.strerror or error})") from error
    finally:
        for folder in reversed(made):
            folder.rmdir()
