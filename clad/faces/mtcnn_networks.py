"""The three networks of MTCNN, and where their weights lie.

Layers are named as in the files that the pip package facenet-pytorch ships.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

_PACKAGE = "facenet_pytorch"
_FILES = ("mtcnn_{}net.pt", "{}net.pt")
_NUM_POINTS = 5


class _Trunk(nn.Module):
    """Convolutions without padding, each with its own PReLU and perhaps a pooling.

    Args:
        stages: (channels, kernel, side of the max pooling of stride 2 or 0) of each convolution.
    """

    def __init__(self, stages: Sequence[tuple[int, int, int]]) -> None:
        super().__init__()
        self._pools = tuple(pool for _, _, pool in stages)
        before = 3
        for number, (channels, kernel, _) in enumerate(stages, 1):
            self.add_module(f"conv{number}", nn.Conv2d(before, channels, kernel))
            self.add_module(f"prelu{number}", nn.PReLU(channels))
            before = channels

    def trunk(self, images: Tensor) -> Tensor:
        """(B, C, h, w) float32."""
        states = images
        for number, pool in enumerate(self._pools, 1):
            convolution = self.get_submodule(f"conv{number}")
            states = self.get_submodule(f"prelu{number}")(convolution(states))
            if pool:
                states = functional.max_pool2d(states, pool, stride=2, ceil_mode=True)
        return states


class ProposalNetwork(_Trunk):
    """P-Net, 6,632 parameters: is there a face in this window of 12 x 12, at every second pixel?"""

    def __init__(self) -> None:
        super().__init__([(10, 3, 2), (16, 3, 0), (32, 3, 0)])
        self.conv4_1 = nn.Conv2d(32, 2, 1)
        self.conv4_2 = nn.Conv2d(32, 4, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, h, w) probabilities of a face and (B, 4, h, w) offsets of left, top, right, bottom.

        Args:
            images: (B, 3, H, W) float32 in [-1, 1], sides of at least 12.
        """
        states = self.trunk(images)
        return self.conv4_1(states).softmax(dim=1)[:, 1], self.conv4_2(states)


class _Judge(_Trunk):
    """A trunk with one hidden dense layer; weights expect columns before rows before channels."""

    def _hidden(self, images: Tensor, dense: nn.Module, prelu: nn.Module) -> Tensor:
        states = self.trunk(images).permute(0, 3, 2, 1).flatten(1)
        hidden: Tensor = prelu(dense(states))
        return hidden


class RefinementNetwork(_Judge):
    """R-Net, 100,178 parameters: windows of 24 x 24."""

    def __init__(self) -> None:
        super().__init__([(28, 3, 3), (48, 3, 3), (64, 2, 0)])
        self.dense4 = nn.Linear(576, 128)
        self.prelu4 = nn.PReLU(128)
        self.dense5_1 = nn.Linear(128, 2)
        self.dense5_2 = nn.Linear(128, 4)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B,) probabilities of a face and (B, 4) offsets of left, top, right, bottom.

        Args:
            images: (B, 3, 24, 24) float32 in [-1, 1].
        """
        hidden = self._hidden(images, self.dense4, self.prelu4)
        return self.dense5_1(hidden).softmax(dim=1)[:, 1], self.dense5_2(hidden)


class OutputNetwork(_Judge):
    """O-Net, 389,040 parameters: windows of 48 x 48, with landmarks."""

    def __init__(self) -> None:
        super().__init__([(32, 3, 3), (64, 3, 3), (64, 3, 2), (128, 2, 0)])
        self.dense5 = nn.Linear(1152, 256)
        self.prelu5 = nn.PReLU(256)
        self.dense6_1 = nn.Linear(256, 2)
        self.dense6_2 = nn.Linear(256, 4)
        self.dense6_3 = nn.Linear(256, 2 * _NUM_POINTS)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B,) probabilities, (B, 4) offsets, and (B, 5, 2) x, y of landmarks in shares of the box.

        Args:
            images: (B, 3, 48, 48) float32 in [-1, 1].
        """
        hidden = self._hidden(images, self.dense5, self.prelu5)
        points = self.dense6_3(hidden).unflatten(1, (2, _NUM_POINTS)).transpose(1, 2)
        return self.dense6_1(hidden).softmax(dim=1)[:, 1], self.dense6_2(hidden), points


class Networks(NamedTuple):
    """All three, frozen and in evaluation mode."""

    proposal: ProposalNetwork
    refinement: RefinementNetwork
    output: OutputNetwork


def new_networks() -> Networks:
    """Networks with random weights."""
    made = Networks(ProposalNetwork(), RefinementNetwork(), OutputNetwork())
    for network in made:
        network.eval().requires_grad_(requires_grad=False)
    return made


def load_networks(folder: Path | None) -> Networks:
    """Networks with stored weights.

    Args:
        folder: Holds mtcnn_pnet.pt or pnet.pt, and so on; None takes the folder of the package
            facenet-pytorch, which is not imported.

    Raises:
        ImportError: If there is no folder and no package.
        FileNotFoundError: If a file is missing.
        ValueError: If a file holds other weights.
    """
    place = packaged_weights() if folder is None else folder
    made = new_networks()
    for letter, network in zip("pro", made, strict=True):
        names = [name.format(letter) for name in _FILES]
        path = next((place / name for name in names if (place / name).is_file()), None)
        if path is None:
            raise FileNotFoundError(
                f"expected {names[0]} or {names[1]} in {place}, found neither; take the files of "
                "the pip package facenet-pytorch (its folder data/)"
            )
        _load(network, path)
    return made


def packaged_weights() -> Path:
    """Folder of the weights inside the package facenet-pytorch.

    Raises:
        ImportError: If it is not installed.
    """
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(
            "expected weights of MTCNN, found none; install them with pip install "
            "'clad-anomaly[faces]', or name a folder with pnet.pt, rnet.pt and onet.pt in "
            "detector.init_args.weights, or use configs/faces/cascade.yaml, which needs none"
        )
    return Path(next(iter(spec.submodule_search_locations))) / "data"


def _load(network: nn.Module, path: Path) -> None:
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"expected the weights of MTCNN's {type(network).__name__} in {path}, got something "
            f"else ({reason}); take the file of the pip package facenet-pytorch"
        ) from error
