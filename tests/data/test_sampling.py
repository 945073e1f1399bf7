from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from clad.data.datamodule import AnomalyDataModule
from clad.data.dataset import EpochSampler
from clad.data.mvtec_ad import MVTecAD
from clad.data.sampling import BalancedSampler, Sampling
from clad.samples import Sample


def samples(*groups):
    """(domain, category, label, count) each."""
    return [
        Sample(Path(f"{category}/{label}/{i}.png"), label, category, domain=domain)
        for domain, category, label, count in groups
        for i in range(count)
    ]


FEW = samples(("industrial", "nut", 0, 600), ("industrial", "nut", 1, 5))
JOINT = samples(
    ("industrial", "nut", 0, 300),
    ("industrial", "tile", 0, 60),
    ("industrial", "tile", 1, 6),
    ("face", "face", 0, 40),
    ("face", "face", 1, 60),
)


def drawn(sampler, made):
    return [made[index] for _, index in sampler]


def test_nothing_asked_for_is_the_plain_permutation():
    ours, plain = Sampling().sampler(FEW, 3), EpochSampler(len(FEW), 3)
    assert type(ours) is EpochSampler
    assert list(ours) == list(plain)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.25, 0.5, 0.9])
def test_anomaly_share_holds_in_every_epoch_and_evenly_over_batches(share):
    sampler = Sampling(anomaly_share=share).sampler(FEW, seed=0)
    assert len(sampler) == len(FEW) == 605
    for _ in range(3):
        labels = np.array([s.label for s in drawn(sampler, FEW)])
        assert len(labels) == 605
        assert abs(labels.sum() - share * 605) < 1
        batches = np.convolve(labels, np.ones(20, int), "valid")
        # A draw lies within one of its own intervals: never more than one off at either end.
        assert np.abs(batches - 20 * share).max() <= 2


def test_images_of_a_stratum_take_turns():
    counts = Counter(s.image_path for s in drawn(Sampling(0.25).sampler(FEW, 0), FEW) if s.label)
    assert len(counts) == 5
    assert sum(counts.values()) in (151, 152)
    assert max(counts.values()) - min(counts.values()) <= 1
    normal = Counter(
        s.image_path for s in drawn(Sampling(0.25).sampler(FEW, 0), FEW) if not s.label
    )
    assert max(normal.values()) == 1


def test_draws_per_epoch_are_exact_in_the_mean():
    made = samples(("industrial", "nut", 0, 9), ("industrial", "nut", 1, 1))
    sampler = Sampling(anomaly_share=0.25).sampler(made, 0)
    counts = [sum(s.label for s in drawn(sampler, made)) for _ in range(400)]
    assert set(counts) == {2, 3}
    assert np.mean(counts) == pytest.approx(2.5, abs=0.1)


def shares(sampling, by):
    everything = []
    sampler = sampling.sampler(JOINT, 0)
    for _ in range(20):
        everything += [by(s) for s in drawn(sampler, JOINT)]
    return {key: count / len(everything) for key, count in Counter(everything).items()}


def test_domains_are_drawn_equally_often():
    found = shares(Sampling(balance_domains=True), lambda s: s.domain)
    assert found == pytest.approx({"industrial": 0.5, "face": 0.5}, abs=0.003)
    inside = shares(Sampling(balance_domains=True), lambda s: (s.category, s.label))
    assert inside["nut", 0] == pytest.approx(0.5 * 300 / 366, abs=0.02)


def test_categories_are_drawn_equally_often():
    found = shares(Sampling(balance_categories=True), lambda s: s.category)
    assert found == pytest.approx(dict.fromkeys(("nut", "tile", "face"), 1 / 3), abs=0.003)
    both = shares(
        Sampling(balance_domains=True, balance_categories=True), lambda s: (s.domain, s.category)
    )
    assert both == pytest.approx(
        {("industrial", "nut"): 0.25, ("industrial", "tile"): 0.25, ("face", "face"): 0.5},
        abs=0.003,
    )


def test_anomaly_share_holds_inside_each_balanced_group_that_has_both_kinds():
    by_domain = shares(Sampling(0.2, balance_domains=True), lambda s: (s.domain, s.label))
    assert by_domain == pytest.approx(
        {("industrial", 0): 0.4, ("industrial", 1): 0.1, ("face", 0): 0.4, ("face", 1): 0.1},
        abs=0.003,
    )
    by_category = shares(Sampling(0.2, balance_categories=True), lambda s: (s.category, s.label))
    assert by_category["nut", 0] == pytest.approx(1 / 3, abs=0.003)
    assert by_category["tile", 1] == pytest.approx(0.2 / 3, abs=0.003)


def test_order_comes_from_seed_and_epoch_which_travels_in_the_index():
    sampling = Sampling(0.25, balance_domains=True)
    sampler = sampling.sampler(JOINT, 5)
    first, second = list(sampler), list(sampler)
    assert {epoch % 2**32 for epoch, _ in first} == {0}
    assert {epoch % 2**32 for epoch, _ in second} == {1}
    assert [i for _, i in first] != [i for _, i in second]
    assert list(sampling.sampler(JOINT, 5)) == first
    assert list(sampling.sampler(JOINT, 6)) != first
    assert list(sampling.sampler(JOINT, 5, lambda: 1)) == second


def test_batches_hold_repeated_images_as_drawn(tmp_path):
    MVTecAD().write_tiny(tmp_path)
    module = AnomalyDataModule(
        MVTecAD(),
        tmp_path,
        image_size=16,
        num_workers=0,
        train_batch_size=7,
        anomalies_per_type=1,
        anomaly_share=0.5,
    )
    labels = [int(label) for batch in module.train_dataloader() for label in batch.labels]
    assert len(labels) == len(module.splits.train) == 18
    assert sum(labels) == 9
    assert sum(s.label for s in module.splits.train) == 4


def test_a_share_without_anomalies_is_refused():
    made = samples(("industrial", "nut", 0, 3))
    with pytest.raises(ValueError, match=r"anomaly_share = 0\.5, got none; add some"):
        Sampling(anomaly_share=0.5).sampler(made, 0)
    for share in (0.0, 1.0, -1):
        with pytest.raises(ValueError, match=r"expected anomaly_share in \["):
            Sampling(anomaly_share=share)


def test_a_stratum_may_get_no_draw():
    sampler = BalancedSampler([(0.999, [0, 1]), (0.001, [2])], 3, seed=0)
    assert all(len(list(sampler)) == 3 for _ in range(5))


def test_what_comes_again_is_augmented_and_synthesised_anew():
    made = samples(("industrial", "nut", 0, 2))
    pairs = list(Sampling(fewest=7).sampler(made, 0))
    assert len(set(pairs)) == len(pairs) == 7
    assert Counter(index for _, index in pairs) in ({0: 4, 1: 3}, {0: 3, 1: 4})
    assert sum(epoch == 0 for epoch, _ in pairs) == 2
    assert type(Sampling(fewest=2).sampler(made, 0)) is EpochSampler


def test_an_epoch_of_few_shots_fills_a_batch_with_different_copies(tmp_path):
    MVTecAD().write_tiny(tmp_path)
    module = AnomalyDataModule(
        MVTecAD(),
        tmp_path,
        ["tile"],
        image_size=16,
        num_workers=0,
        train_batch_size=8,
        shots=1,
        augmentation=("brightness",),
    )
    (batch,) = module.train_dataloader()
    assert len(batch) == 8
    assert len(set(batch.paths)) == 1
    assert len({image.numpy().tobytes() for image in batch.images}) > 4


@pytest.mark.parametrize(("batch_size", "sizes"), [(13, [13]), (5, [5, 5, 4]), (14, [14])])
def test_a_last_batch_of_one_image_is_left_out(tmp_path, batch_size, sizes):
    MVTecAD().write_tiny(tmp_path)
    module = AnomalyDataModule(
        MVTecAD(), tmp_path, image_size=16, num_workers=0, train_batch_size=batch_size
    )
    assert [len(batch) for batch in module.train_dataloader()] == sizes
    alone = AnomalyDataModule(MVTecAD(), tmp_path, image_size=16, num_workers=0, train_batch_size=1)
    assert len(list(alone.train_dataloader())) == 14
