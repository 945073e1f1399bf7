"""Token layers -> one dense map, or one vector per image: shared by adapters and heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from clad.checks import expect_choice
from clad.types import ImageFeatures

_SMALLEST_VARIANCE = 1e-12
_RIDGE = 1e-3
"""Of the mean variance; see ``log_covariances``."""


def token_maps(features: ImageFeatures, layers: Sequence[int] | None = None) -> list[Tensor]:
    """Tokens of the chosen layers as (B, C_l, height_l, width_l) maps.

    Args:
        features: Of B images.
        layers: Positions in ``features.tokens``; None takes all.

    Raises:
        ValueError: If a layer is not there.
    """
    count = len(features.tokens)
    chosen = range(count) if layers is None else layers
    for layer in chosen:
        expect_choice("layer", str(layer), [str(position) for position in range(count)])
    return [features.tokens[n].transpose(1, 2).unflatten(2, features.grids[n]) for n in chosen]


def dense_tokens(
    maps: Sequence[Tensor], neighbourhood: int = 3, unit: bool = False, fade_border: bool = False
) -> Tensor:
    """Locally averaged maps, enlarged to the finest grid and stacked along channels.

    Args:
        maps: L tensors (B, C_l, h_l, w_l).
        neighbourhood: Odd side of the square over which each map is averaged; 1 leaves it alone.
        unit: Give each layer's averaged token the norm 1, so that gain and contrast do not count.
        fade_border: Multiply tokens at the border by the share of their square that lies inside
            the image, which comes to averaging zeros beyond it, as PatchCore's code does.

    Returns:
        (B, sum of C_l, h, w) float.

    Source: PatchCore's locally aware patch features (Roth et al., CVPR 2022, arXiv:2106.08265,
    section 3.1).
    """
    size = max((each.shape[-2:] for each in maps), key=lambda grid: grid[0] * grid[1])
    dense = []
    for each in maps:
        local = functional.avg_pool2d(
            each, neighbourhood, 1, neighbourhood // 2, count_include_pad=False
        )
        if unit:
            local = functional.normalize(local, dim=1)
        if fade_border:
            inside = torch.ones_like(local[:1, :1])
            local = local * functional.avg_pool2d(inside, neighbourhood, 1, neighbourhood // 2)
        if local.shape[-2:] != size:
            local = functional.interpolate(local, size, mode="bilinear", align_corners=False)
        dense.append(local)
    return torch.cat(dense, 1)


def crop_grids(features: ImageFeatures, margins: tuple[float, float]) -> ImageFeatures:
    """Features whose grids cover the middle of the frame instead of all of it.

    Each grid keeps the pitch of its patches as nearly as whole numbers allow; what lies between two
    patches is their linear mixture, and a cut along patch borders takes patches as they are.

    Args:
        features: Of B images, without windows.
        margins: Share of the frame's (height, width) that is left out on each of two sides, in
            [0, 0.5).

    Returns:
        Features with other ``tokens``, ``patches`` (unit norm again) and grids; what speaks of the
        whole image (``summary``, ``pooled``) is as before.

    Raises:
        ValueError: If there are windows, which have no place in another grid.
    """
    if features.windows:
        raise ValueError("expected features without windows to crop, got some; set window_sides []")

    def cropped(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        rows, columns = (
            _line_sampler(count, margin).to(tokens)
            for count, margin in zip(grid, margins, strict=True)
        )
        maps = tokens.unflatten(1, grid)
        found = torch.einsum("rh,cw,bhwd->brcd", rows, columns, maps)
        return found.flatten(1, 2).to(tokens.dtype)  # autocast would round them

    patch_grids = features.patch_grids or features.grids
    patches = features.patches and tuple(
        functional.normalize(cropped(layer, grid), dim=-1)
        for layer, grid in zip(features.patches, patch_grids, strict=True)
    )
    tokens = [cropped(*each) for each in zip(features.tokens, features.grids, strict=True)]

    def inner(grids: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        down, right = margins
        return tuple((len(_line_sampler(h, down)), len(_line_sampler(w, right))) for h, w in grids)

    return replace(
        features,
        tokens=tuple(tokens),
        grids=inner(features.grids),
        patches=patches,
        patch_grids=features.patch_grids and inner(features.patch_grids),
    )


@lru_cache(maxsize=64)
def _line_sampler(count: int, margin: float) -> Tensor:
    """(inner, count) matrix that resamples a line of patches between two margins."""
    kept = 1 - 2 * margin
    inner = max(1, round(count * kept))
    with torch.inference_mode(False):  # it is kept, and training may be the next to use it
        centres = (margin + (torch.arange(inner, dtype=torch.float64) + 0.5) / inner * kept) * count
        places = (centres - 0.5).clamp(0, count - 1)
        return (1 - (places[:, None] - torch.arange(count)).abs()).clamp(min=0).float()


def image_statistics(maps: Sequence[Tensor], cells: int = 1) -> Tensor:
    """Mean and standard deviation of each channel over the positions of an image or of its cells.

    Args:
        maps: L tensors (B, C_l, h_l, w_l).
        cells: Cells per side, at least 1; borders fall as evenly as the grid allows.

    Returns:
        (B, 2 x cells^2 x sum of C_l) float32: layer by layer means, then deviations.
    """
    found = []
    for each in maps:
        values = each.float()
        centre = values.mean((2, 3), keepdim=True)  # taken out, or rounding would eat deviations
        mean = functional.adaptive_avg_pool2d(values - centre, cells)
        square = functional.adaptive_avg_pool2d((values - centre).square(), cells)
        variance = square - mean.square()
        # Zero where it vanishes, and so is its gradient there; a square root's own is infinite.
        deviation = variance.clamp(min=_SMALLEST_VARIANCE).sqrt() * (variance > _SMALLEST_VARIANCE)
        found += [(mean + centre).flatten(1), deviation.flatten(1)]
    return torch.cat(found, 1)


def log_covariances(maps: Sequence[Tensor]) -> Tensor:
    """Matrix logarithm of the channels' covariance over the positions of an image, layer by layer.

    What channels have to do with each other describes texture, wherever it lies; the logarithm
    turns the curved space of covariances into one where a linear layer can work. Before it, a
    thousandth of the mean variance is added to the diagonal, so that flat images have one, too.

    Args:
        maps: L tensors (B, C_l, h_l, w_l).

    Returns:
        (B, sum of C_l (C_l + 1) / 2) float32: upper triangles, entries off the diagonal times the
        square root of 2, so that distances are those of the matrices. No gradient passes through.

    Source: log-Euclidean covariances (Arsigny et al., SIAM J. Matrix Anal. 2007), second-order
    pooling (Carreira et al., ECCV 2012). That generated faces differ in the statistics of their
    textures: Gram-Net (Liu et al., CVPR 2020, arXiv:2002.00133).
    """
    found = []
    for each in maps:
        values = each.detach().flatten(2).double()
        values = values - values.mean(2, keepdim=True)
        covariance = values @ values.transpose(1, 2) / values.shape[2]
        variances = covariance.diagonal(dim1=1, dim2=2)
        ridge = _RIDGE * variances.mean(1) + _SMALLEST_VARIANCE
        covariance = covariance + torch.diag_embed(ridge[:, None].expand_as(variances))
        roots, vectors = torch.linalg.eigh(covariance)
        # Rounding may push the smallest roots below the ridge that they have by construction.
        logarithms = roots.clamp(min=ridge[:, None]).log()
        matrices = (vectors * logarithms[:, None, :]) @ vectors.transpose(1, 2)
        rows, columns = torch.triu_indices(*matrices.shape[1:], device=matrices.device)
        weights = torch.where(rows == columns, 1.0, 2.0**0.5).to(matrices)
        found.append(matrices[:, rows, columns] * weights)
    return torch.cat(found, 1).float()


def enlarge(maps: Tensor, size: tuple[int, int], sigma_px: float = 0.0) -> Tensor:
    """Score maps at image size, smoothed.

    Args:
        maps: (B, h, w) float.
        size: (height, width) of the result.
        sigma_px: Standard deviation of a Gaussian at that size, >= 0; 0 leaves it out.

    Returns:
        (B, height, width) float: bilinear, then blurred; beyond the border the map is reflected,
        its edge pixels repeated, as in scipy's ``gaussian_filter`` (APRIL-GAN, AnomalyCLIP).
        Constant maps stay as they are.
    """
    rows, columns = (
        _resampler(small, large, sigma_px).to(maps)
        for small, large in zip(maps.shape[-2:], size, strict=True)
    )
    return rows @ maps @ columns.T


def enlarge_mean(layers: Sequence[Tensor], size: tuple[int, int], sigma_px: float = 0.0) -> Tensor:
    """The mean over layers of ``enlarge``; layers on one grid are enlarged together.

    Args:
        layers: At least one (B, h_l, w_l) float.
        size: (height, width) of the result.
        sigma_px: As in ``enlarge``.

    Returns:
        (B, height, width) float.
    """
    by_grid: dict[tuple[int, ...], list[Tensor]] = {}
    for layer in layers:
        by_grid.setdefault(tuple(layer.shape[-2:]), []).append(layer)
    # Both steps are linear, so that the mean may be taken before them.
    sums = [sum(same[1:], start=same[0]) / len(layers) for same in by_grid.values()]
    first, *others = (enlarge(each, size, sigma_px) for each in sums)
    return sum(others, start=first)


@lru_cache(maxsize=32)
def _resampler(small: int, large: int, sigma_px: float) -> Tensor:
    """(large, small) matrix that enlarges a line and blurs it.

    Both steps are linear and act on rows and columns alone, so two small products do what a
    two-dimensional convolution at image size would.
    """
    lines = functional.interpolate(
        torch.eye(small, dtype=torch.float64)[:, None], large, mode="linear", align_corners=False
    )
    radius = min(int(4 * sigma_px + 0.5), large)
    if radius:
        steps = torch.arange(-radius, radius + 1, dtype=torch.float64)
        kernel = torch.exp(-0.5 * (steps / sigma_px) ** 2)
        padded = torch.cat(
            [lines[..., :radius].flip(-1), lines, lines[..., -radius:].flip(-1)], dim=-1
        )
        lines = functional.conv1d(padded, (kernel / kernel.sum()).view(1, 1, -1))
    return lines[:, 0].T.float().contiguous()


def top_mean(maps: Tensor, share: float) -> Tensor:
    """(B,) mean of the largest values of each map.

    Args:
        maps: (B, h, w) float.
        share: Share of the positions, in [0, 1]; 0 takes the maximum alone, 1 the mean.
    """
    flat = maps.flatten(1)
    count = max(1, round(share * flat.shape[1]))
    return flat.topk(count, dim=1).values.mean(1)
