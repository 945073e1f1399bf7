"""Any face embedding that somebody exported to ONNX: ArcFace, BlendFace, TransFace."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clad.checks import expect_choice
from clad.face_encoders.base import FaceEncoder
from clad.face_encoders.weights import expect_file

_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")


class Session(Protocol):
    """What is used of an onnxruntime session."""

    def get_inputs(self) -> list[Any]:
        """Inputs with ``name`` and ``shape``."""

    def run(self, names: None, values: dict[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """All outputs."""


class OnnxFaceEncoder(FaceEncoder):
    """An ONNX file run by onnxruntime (extra ``faces``); its first output is the embedding.

    The graph takes one input of (batch, 3, height, width) float32. Weights of published face
    networks inherit the non-commercial terms of the faces they were trained on.

    Args:
        weights: The ONNX file. There are no others to fall back to.
        image_size: (height, width) that the network sees; None takes it from the graph.
        mean: Subtracted from red, green and blue in [0, 255].
        std: What the difference is divided by, > 0.
        channels: Order in which the network takes colours, ``rgb`` or ``bgr``.
        centre: Share of each side of a crop that is looked at, around the middle, in (0, 1].

    Raises:
        FileNotFoundError: If there is no file.
        ImportError: If onnxruntime is missing, with the command that installs it.
        ValueError: If no file is given, or its graph is another one.

    Source: TransFace (Dan et al., ICCV 2023, arXiv:2308.10133) is RepDFD's own encoder; ArcFace
    (Deng et al., CVPR 2019, arXiv:1801.07698) and BlendFace (Shiohara et al., ICCV 2023,
    arXiv:2307.10854) are in its Figure 5.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        weights: Path | None = None,
        image_size: tuple[int, int] | None = None,
        mean: tuple[float, float, float] = (127.5, 127.5, 127.5),
        std: tuple[float, float, float] = (127.5, 127.5, 127.5),
        channels: Literal["rgb", "bgr"] = "rgb",
        centre: float = 1.0,
    ) -> None:
        expect_choice("channels", channels, ("rgb", "bgr"))
        if min(std) <= 0:
            raise ValueError(f"expected std > 0 for each colour, got {std}")
        if weights is None:
            raise ValueError(
                "expected an ONNX file for OnnxFaceEncoder, got none; give init_args.weights "
                "(docs/face-encoders.md)"
            )
        path = expect_file(weights, type(self).__name__)
        session = open_session(path)
        size = _input_size(session, path, image_size)
        super().__init__(size, _embed_dim(session, path, size), centre)
        self.path = path
        self.channels = channels
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))
        self._session: Session | None = session
        with path.open("rb") as file:
            content = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
        self.freeze(content.hexdigest(), channels)

    def embed(self, pixels: Tensor) -> Tensor:
        """(B, D) float32."""
        normal = (pixels - self.mean) / self.std
        if self.channels == "bgr":
            normal = normal.flip(1)
        if self._session is None:
            self._session = open_session(self.path)
        found = _run(self._session, normal.cpu().numpy())
        return torch.from_numpy(found).to(pixels.device)

    def __getstate__(self) -> dict[str, Any]:
        """Without the session, which cannot be copied; it is opened again when it is needed."""
        return {**self.__dict__, "_session": None}


def open_session(path: Path) -> Session:
    """An onnxruntime session on a GPU if it can use one.

    Raises:
        ImportError: If onnxruntime is missing.
        ValueError: If the file is no ONNX model.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            "expected the package onnxruntime for OnnxFaceEncoder, found none; "
            "install it with: pip install 'clad-anomaly[faces]'"
        ) from error
    available = onnxruntime.get_available_providers()
    providers = [name for name in _PROVIDERS if name in available]
    try:
        return onnxruntime.InferenceSession(str(path), providers=providers)
    except Exception as error:  # its own classes, which change names between releases
        raise ValueError(
            f"expected an ONNX model at {path}, got something onnxruntime cannot open; export the "
            "network again"
        ) from error


def _input_size(session: Session, path: Path, wanted: tuple[int, int] | None) -> tuple[int, int]:
    """(height, width) that the graph takes.

    Raises:
        ValueError: If it takes something else than images, or leaves the size open.
    """
    inputs = session.get_inputs()
    shape = list(inputs[0].shape) if len(inputs) == 1 else []
    if len(shape) != 4 or shape[1] != 3:
        given = ", ".join(f"{each.name} {list(each.shape)}" for each in inputs)
        raise ValueError(
            f"expected a graph with one input (batch, 3, height, width) in {path}, got {given}; "
            "export the network with channels before rows"
        )
    fixed = [side for side in shape[2:] if isinstance(side, int)]
    if len(fixed) == 2 and wanted in (None, tuple(fixed)):
        return fixed[0], fixed[1]
    if len(fixed) == 0 and wanted is not None:
        return wanted
    what = "none" if wanted is None else f"{wanted[0]} x {wanted[1]}"
    raise ValueError(
        f"expected image_size to be what the graph in {path} takes ({shape[2]} x {shape[3]}), got "
        f"{what}; a graph that leaves its size open needs one, any other needs none"
    )


def _embed_dim(session: Session, path: Path, size: tuple[int, int]) -> int:
    """Width of the first output, seen on a grey face.

    Raises:
        ValueError: If it is no vector per face.
    """
    found = _run(session, np.zeros((1, 3, *size), np.float32))
    if found.ndim != 2 or len(found) != 1:
        raise ValueError(
            f"expected one vector per face from the first output of {path}, got shape "
            f"{found.shape}; export the embedding first"
        )
    return int(found.shape[1])


def _run(session: Session, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """First output; face by face where the graph takes one at a time."""
    (given,) = session.get_inputs()
    step = 1 if given.shape[0] == 1 else max(1, len(pixels))
    parts = [
        session.run(None, {given.name: np.ascontiguousarray(pixels[start : start + step])})[0]
        for start in range(0, len(pixels), step)
    ]
    return np.concatenate(parts).astype(np.float32, copy=False)
