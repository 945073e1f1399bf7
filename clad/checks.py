"""One wording for all errors about arguments: expected, got, what to do."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from torch import Tensor


def expect_shape(name: str, tensor: Tensor, shape: tuple[int | None, ...]) -> None:
    """Refuse a tensor of another shape; None in ``shape`` matches any size.

    Raises:
        ValueError: With the expected and the given shape.
    """
    given = tuple(tensor.shape)
    matches = len(given) == len(shape) and all(
        want is None or want == size for want, size in zip(shape, given, strict=True)
    )
    if not matches:
        wanted = tuple("any" if size is None else size for size in shape)
        raise ValueError(f"expected {name} of shape {wanted}, got {given}")


def expect_range(name: str, value: float, low: float, high: float) -> None:
    """Refuse a number outside [low, high].

    Raises:
        ValueError: With the allowed range and the given number.
    """
    if not low <= value <= high:
        raise ValueError(f"expected {name} in [{low}, {high}], got {value}")


def expect_unit_norm(name: str, tensor: Tensor, tolerance: float = 1e-3) -> None:
    """Refuse vectors (last dimension) that are not of length 1.

    Raises:
        ValueError: With the length that is furthest off.
    """
    norms = tensor.detach().float().norm(dim=-1)
    worst = (norms - 1).abs().max().item() if norms.numel() else 0.0
    if not worst <= tolerance:
        raise ValueError(
            f"expected {name} of unit norm along the last dimension, "
            f"got a norm off by {worst:.3g}; normalise it first"
        )


def expect_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Refuse a name that is not among the choices.

    Raises:
        ValueError: With all choices and the given name.
    """
    allowed = sorted(choices)
    if value not in allowed:
        raise ValueError(f"expected {name} to be one of {', '.join(allowed)}; got {value!r}")


def expect_folder(name: str, path: Path | str | None, hint: str) -> Path:
    """The folder as a Path.

    Raises:
        FileNotFoundError: If it is not there, with what to do.
    """
    if path is None:
        raise FileNotFoundError(f"expected {name} to be a folder, got none; {hint}")
    folder = Path(path)
    if not folder.is_dir():
        what = "a file" if folder.is_file() else "nothing"
        raise FileNotFoundError(f"expected {name} to be a folder, found {what} at {folder}; {hint}")
    return folder
