from __future__ import annotations

from fakes import FakeTower
from tiny_runs import CATEGORIES, text_recipe

from clad.heads.linear import Linear
from clad.losses.image_cross_entropy import ImageCrossEntropy
from clad.tasks.anomaly_task import AnomalyTask
from clad.tasks.parameter_counts import PartCount, in_words
from clad.tuning.full import Full
from clad.tuning.svd_residual import SvdResiduals

TOWER = sum(weight.numel() for weight in FakeTower().parameters())
UPDATES = 5 * (12 + 1 + 12)


def counts(**settings) -> dict[str, PartCount]:
    task = AnomalyTask(
        FakeTower(), Linear(sees="summary"), losses=[ImageCrossEntropy()], **settings
    )
    task.attach(CATEGORIES)
    return task.parameter_counts


def test_what_a_tuning_added_is_its_own() -> None:
    head = PartCount(2 * 12 + 2)
    assert counts() == {"tower": PartCount(0, TOWER), "head": head}
    assert counts(tuning=Full()) == {"tower": PartCount(TOWER), "head": head}
    found = counts(tuning=SvdResiduals())
    assert list(found) == ["tower", "tuning", "head"]
    assert found == {"tower": PartCount(0, TOWER), "tuning": PartCount(UPDATES), "head": head}


def test_every_weight_counts_once() -> None:
    task = text_recipe(tuning=SvdResiduals())
    task.attach(CATEGORIES)
    found = task.parameter_counts
    total = sum(count.learning + count.frozen for count in found.values())
    assert total == sum(weight.numel() for weight in task.parameters())
    assert set(found) == {"tower", "tuning", "adapter"}


def test_in_words() -> None:
    made = {"tower": PartCount(0, 5_288_548), "head": PartCount(1_538)}
    assert in_words(made) == "tower 0 of 5,288,548, head 1,538 of 1,538"
