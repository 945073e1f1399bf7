"""What roles and labels of a data set share that they must not share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clad.data.overlap import find_duplicates
from clad.samples import Sample, Splits

_ROLES = ("train", "validation", "test")


@dataclass(frozen=True)
class Shared:
    """Groups of files or of people in places that must be apart.

    Args:
        across_labels: Files of equal content, some real and some fake.
        across_roles: Files of equal content, in two roles.
        within: Files of equal content, of one role and label.
        groups: Names of groups (videos, people) with files in two roles.
        num_without_group: Files whose video or person is not known.
    """

    across_labels: tuple[tuple[Sample, ...], ...]
    across_roles: tuple[tuple[Sample, ...], ...]
    within: tuple[tuple[Sample, ...], ...]
    groups: tuple[str, ...]
    num_without_group: int

    @property
    def is_wrong(self) -> bool:
        """Whether numbers of such a data set cannot be trusted."""
        return bool(self.across_labels or self.across_roles or self.groups)


def find_shared(splits: Splits) -> Shared:
    """Copies by content, and groups in two roles; files that are listed twice count as copies."""
    listed = [(role, sample) for role in _ROLES for sample in getattr(splits, role)]
    by_path: dict[str, list[tuple[str, Sample]]] = {}
    for role, sample in listed:
        by_path.setdefault(str(sample.image_path), []).append((role, sample))
    paths = {sample.image_path: None for _, sample in listed}
    equal = [[each for path in group for each in by_path[str(path)]] for group in
             find_duplicates(paths)]  # fmt: skip
    known = {str(sample.image_path) for group in equal for _, sample in group}
    equal += [each for path, each in by_path.items() if len(each) > 1 and path not in known]
    across_labels, across_roles, within = [], [], []
    for group in equal:
        samples = tuple(sample for _, sample in group)
        if len({sample.label for sample in samples}) > 1:
            across_labels.append(samples)
        elif len({role for role, _ in group}) > 1:
            across_roles.append(samples)
        else:
            within.append(samples)
    return Shared(
        tuple(across_labels),
        tuple(across_roles),
        tuple(within),
        _groups_in_two_roles(listed),
        sum(sample.group is None for _, sample in listed),
    )


def _groups_in_two_roles(listed: Sequence[tuple[str, Sample]]) -> tuple[str, ...]:
    roles: dict[str, set[str]] = {}
    for role, sample in listed:
        if sample.group is not None:
            roles.setdefault(sample.group, set()).add(role)
    return tuple(sorted(name for name, found in roles.items() if len(found) > 1))
