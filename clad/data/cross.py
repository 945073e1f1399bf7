"""The cross-data-set protocol: learn from one data set's test split, be tested on another's."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from clad.data.base import Categories, DataSource, choose_categories
from clad.data.fingerprint import joint_fingerprint
from clad.data.parts import ListedPart, Part, list_parts, made_distinct, write_tiny_parts
from clad.data.splits import describe_counts
from clad.samples import Splits

RULE = "as many epochs as the recipe says, the last one kept, nothing chosen on the target"


class CrossDataset(DataSource):
    """Training on auxiliary data sets, test on a target that shares nothing with them.

    All images of the auxiliaries' test splits, good ones and defects with their masks, are training
    images; the target gives its test split and nothing else, so there is no validation, and no
    threshold. What the target and an auxiliary may not share: a category's name, a folder, the
    published data set, or an image (by content).

    This is what APRIL-GAN, AnomalyCLIP, AdaCLIP and AA-CLIP call zero-shot: the target's categories
    are unseen, defects and masks of others are not. It is another thing than no training at all
    (WinCLIP), and than looking at the whole unlabelled test set.

    Source: the protocol of Chen et al., APRIL-GAN, arXiv:2305.17382; Zhou et al., AnomalyCLIP,
    arXiv:2310.18961.

    Args:
        auxiliary: Data sets to learn from, each with its root.
        target: Data set to be tested on.
        rule: How the number of epochs is fixed; kept with the results.
    """

    name: ClassVar[str] = "cross_dataset"
    needs_root: ClassVar[bool] = False
    is_composed: ClassVar[bool] = True

    def __init__(self, auxiliary: list[Part], target: Part, rule: str = RULE) -> None:
        self.auxiliary = auxiliary
        self.target = target
        self.rule = rule

    @property
    def trains_on_anomalies(self) -> bool:
        """Always: that is the point of auxiliary data."""
        return True

    def list_samples(self, root: Path | None, categories: Categories, seed: int) -> Splits:
        """Samples by role; see ``DataSource.list_samples``.

        Args:
            root: Folder that the parts' roots are seen from, or None.
            categories: ``all`` or names of categories of the target.
            seed: Passed on to the sources.
        """
        *auxiliary, target = self._parts(root, seed)
        chosen = set(
            choose_categories(sorted({s.category for s in target.splits.test}), categories)
        )
        train = tuple(sample for each in auxiliary for sample in each.splits.test)
        test = tuple(s for s in target.splits.test if s.category in chosen)
        anomalous = [sample for sample in train if sample.label]
        num_masks = sum(sample.mask_path is not None for sample in anomalous)
        splits = Splits(train, (), test)
        names = ", ".join(each.name for each in auxiliary)
        notes = (
            f"{self.name}: trained on the test split of {names}, tested on that of {target.name}; "
            f"{describe_counts(splits)}; {num_masks} of {len(anomalous)} anomalous training images "
            "have a mask.",
            f"{self.name}: {self.rule}.",
        )
        return Splits(train, (), test, notes)

    def fingerprint(self, root: Path | None, splits: Splits) -> dict[str, Any]:
        """Of the whole, the rule, and one of each part under ``parts``, with what it was for."""
        listed = list_parts([*self.auxiliary, self.target], root, seed=0)
        parts = [each.fingerprint(splits) for each in listed]
        for number, part in enumerate(parts):
            part["used_as"] = "target" if number == len(self.auxiliary) else "auxiliary"
        return {**joint_fingerprint(self.name, root, splits, parts), "rule": self.rule}

    def write_tiny(self, root: Path, seed: int = 0) -> None:
        """Write a miniature of every part that has a root of its own, which must be relative."""
        write_tiny_parts([*self.auxiliary, self.target], root, seed)

    def _parts(self, root: Path | None, seed: int) -> list[ListedPart]:
        """The auxiliaries, then the target."""
        if not self.auxiliary:
            raise ValueError(
                "expected at least one auxiliary data set to learn from, got none; name some under "
                "`auxiliary`"
            )
        listed = list_parts([*self.auxiliary, self.target], root, seed)
        *auxiliary, target = listed
        for each in auxiliary:
            _expect_strangers(each, target)
        for each in listed:
            if not each.splits.test:
                raise ValueError(
                    f"expected test images of {each.name}, got none; "
                    f"{' '.join(each.splits.notes) or 'check its root and categories'}"
                )
        return made_distinct(listed)


def _expect_strangers(auxiliary: ListedPart, target: ListedPart) -> None:
    """Refuse an auxiliary that is the target's data set, or has a category of it."""
    first, second = auxiliary.part.source, target.part.source
    advice = "learn from another data set than the one that is tested"
    if first.name == second.name and not first.is_layout:
        raise ValueError(
            f"expected another data set than {second.name} to learn from, got it as auxiliary and "
            f"as target; {advice}"
        )
    if auxiliary.folder is not None and target.folder is not None:
        one, other = auxiliary.folder.resolve(), target.folder.resolve()
        if one.is_relative_to(other) or other.is_relative_to(one):
            raise ValueError(
                f"expected folders of their own for {auxiliary.name} and {target.name}, got "
                f"{auxiliary.folder} and {target.folder}; {advice}"
            )
    plain = {_plain(name): name for name in auxiliary.categories}
    shared = sorted(name for name in target.categories if _plain(name) in plain)
    if shared:
        raise ValueError(
            f"expected categories of {target.name} that {auxiliary.name} does not have, got "
            f"{', '.join(shared)} in both; leave them out of one (`categories`)"
        )


def _plain(name: str) -> str:
    """A category's name as it is compared."""
    return name.casefold().replace("-", "_").replace(" ", "_")
