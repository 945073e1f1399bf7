"""Which training images come how often: shares of anomalies, domains and categories."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clad.checks import expect_range
from clad.data.dataset import PARTNER, EpochSampler
from clad.samples import Sample

_Stratum = tuple[str, str, int]
"""Domain, category and label; empty or -1 where nothing depends on it."""

_REPEATED = 2**32
"""Added to the epoch for each turn after an image's first; more epochs than any run has."""


@dataclass(frozen=True)
class Sampling:
    """How often images are drawn.

    Args:
        anomaly_share: Share of labelled anomalous images among those drawn, in (0, 1); with
            balancing, inside each domain or category that has both kinds. None draws each image
            once per epoch.
        balance_domains: Whether each domain is drawn equally often, whatever its size.
        balance_categories: Likewise each category; inside its domain, if these are balanced, too.
        fewest: Draws per epoch, where there are fewer images.
        paired: Whether every normal image is followed by its synthetic partner, made from the same
            random numbers.
    """

    anomaly_share: float | None = None
    balance_domains: bool = False
    balance_categories: bool = False
    fewest: int = 1
    paired: bool = False

    def __post_init__(self) -> None:
        if self.anomaly_share is not None:
            expect_range("anomaly_share", self.anomaly_share, 1e-6, 1 - 1e-6)

    def sampler(
        self,
        samples: Sequence[Sample],
        seed: int,
        current_epoch: Callable[[], int | None] | None = None,
    ) -> EpochSampler:
        """Order of training images, drawn anew for each epoch.

        Raises:
            ValueError: If there is a share, but no labelled anomalous image.
        """
        plain = self._unpaired(samples, seed, current_epoch)
        if not self.paired:
            return plain
        return PairedSampler(plain, [sample.label == 0 for sample in samples])

    def _unpaired(
        self,
        samples: Sequence[Sample],
        seed: int,
        current_epoch: Callable[[], int | None] | None,
    ) -> EpochSampler:
        is_plain = self.anomaly_share is None and not (
            self.balance_domains or self.balance_categories
        )
        if is_plain and len(samples) >= self.fewest:
            return EpochSampler(len(samples), seed, current_epoch)
        if self.anomaly_share is not None and not any(sample.label for sample in samples):
            raise ValueError(
                f"expected labelled anomalous training images for data.anomaly_share = "
                f"{self.anomaly_share}, got none; add some (data.anomalies_per_type), or set it "
                "to null"
            )
        strata: dict[_Stratum, list[int]] = {}
        for index, sample in enumerate(samples):
            strata.setdefault(self._stratum(sample), []).append(index)
        shares = self._shares({stratum: len(rows) for stratum, rows in strata.items()})
        return BalancedSampler(
            [(shares[stratum], rows) for stratum, rows in strata.items()],
            max(len(samples), self.fewest),
            seed,
            current_epoch,
        )

    def _stratum(self, sample: Sample) -> _Stratum:
        return (
            sample.domain if self.balance_domains else "",
            sample.category if self.balance_categories else "",
            sample.label if self.anomaly_share is not None else -1,
        )

    def _shares(self, sizes: dict[_Stratum, int]) -> dict[_Stratum, float]:
        """Share of each stratum: of its domain, times of its category, times of its label."""
        domains = {domain for domain, _, _ in sizes}
        shares = {}
        for domain, category, label in sizes:
            categories = {c for d, c, _ in sizes if d == domain}
            labels = {n for d, c, n in sizes if (d, c) == (domain, category)}
            share = 1 / (len(domains) * len(categories))
            if self.anomaly_share is not None and len(labels) == 2:
                share *= self.anomaly_share if label else 1 - self.anomaly_share
            shares[domain, category, label] = share
        return shares


class PairedSampler(EpochSampler):
    """Indices of another sampler, each normal image followed by its synthetic partner.

    Args:
        plain: Decides the order.
        is_normal: Whether the image of each index has a partner.
    """

    def __init__(self, plain: EpochSampler, is_normal: Sequence[bool]) -> None:
        super().__init__(plain.num_samples, plain.seed, plain.current_epoch)
        self.plain = plain
        self.is_normal = tuple(is_normal)

    def __len__(self) -> int:
        return len(self.draws(0))

    def draws(self, epoch: int) -> list[tuple[int, int]]:
        """(epoch, index) pairs; those of partners have ``PARTNER`` added to the epoch."""
        found = []
        for drawn, index in self.plain.draws(epoch):
            found.append((drawn, index))
            if self.is_normal[index]:
                found.append((drawn + PARTNER, index))
        return found


class BalancedSampler(EpochSampler):
    """(epoch, index) pairs in which every stratum has its share, in each batch as in the epoch.

    Each stratum gets its share of the draws of an epoch, exact to one draw, spread evenly over the
    epoch with a random jitter. Its images take turns: how often two of them come in one epoch
    differs by at most one. What comes again carries another number in the place of the epoch, so
    that augmentation and synthesis draw anew.

    Args:
        strata: Share and indices of each stratum; shares sum to 1.
        num_samples: Draws per epoch.
        seed: At least 0.
        current_epoch: Says which epoch starts now; None counts the passes.
    """

    def __init__(
        self,
        strata: Sequence[tuple[float, Sequence[int]]],
        num_samples: int,
        seed: int,
        current_epoch: Callable[[], int | None] | None = None,
    ) -> None:
        super().__init__(num_samples, seed, current_epoch)
        self.strata = [(share, np.asarray(rows, dtype=np.int64)) for share, rows in strata]

    def draws(self, epoch: int) -> list[tuple[int, int]]:
        """(epoch, index) pairs in the order of that epoch, some indices several times."""
        rng = np.random.default_rng((self.seed, epoch))
        drawn: list[tuple[int, int]] = []
        places: list[NDArray[np.float64]] = []
        for count, (_, rows) in zip(self._counts(rng), self.strata, strict=True):
            turns = [
                (epoch + turn * _REPEATED, int(index))
                for turn in range(-(-count // len(rows)))
                for index in rng.permutation(rows)
            ]
            drawn += turns[:count]
            places.append((np.arange(count) + rng.random(count)) / max(count, 1))
        return [drawn[n] for n in np.argsort(np.concatenate(places), kind="stable")]

    def _counts(self, rng: np.random.Generator) -> list[int]:
        """Draws per stratum: systematic sampling, so that in the mean over epochs it is exact."""
        bounds = np.cumsum([0.0, *(share for share, _ in self.strata)]) * self.num_samples
        bounds[-1] = self.num_samples
        edges = np.floor(bounds + rng.random()).astype(int)
        return [int(count) for count in np.diff(edges)]
