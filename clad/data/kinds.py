"""Which kinds of anomalies are learnt from, so that the test brings others for the first time."""

from __future__ import annotations

from collections.abc import Sequence

from clad.data.splits import count_by
from clad.samples import Sample, Splits


def keep_trained_kinds(splits: Splits, kinds: Sequence[str] | None) -> Splits:
    """The splits with anomalies of these kinds alone in train and validation; test is as it was.

    Args:
        splits: From a source.
        kinds: Names of defects or forgeries (``Sample.defect_type``); empty leaves normal images
            only, None keeps everything.

    Raises:
        ValueError: If no training anomaly is of such a kind.
    """
    if kinds is None:
        return splits
    found = count_by((s for s in splits.train if s.label), lambda s: s.defect_type)
    unknown = [kind for kind in kinds if kind not in found]
    if unknown:
        raise ValueError(
            f"expected data.train_kinds among the anomalies of train, "
            f"{', '.join(found) or 'of which there are none'}, got {', '.join(unknown)}; name "
            "others, or let the source train on anomalies"
        )
    wanted = frozenset(kinds)

    def keep(samples: Sequence[Sample]) -> tuple[Sample, ...]:
        return tuple(s for s in samples if not s.label or s.defect_type in wanted)

    train = keep(splits.train)
    left_out = len(splits.train) - len(train)
    note = (
        f"Anomalies in training: {', '.join(kinds) or 'none'}; {left_out} of other kinds left out."
    )
    return Splits(train, keep(splits.validation), splits.test, (*splits.notes, note))
