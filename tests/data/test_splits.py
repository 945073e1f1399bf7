from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from clad.data.splits import carve_validation, check_disjoint, describe_counts, partition, take
from clad.samples import Sample, Splits


def samples(num_normal, num_anomalous=0, category="nut"):
    normal = [Sample(Path(f"{category}/n{i}.png"), 0, category) for i in range(num_normal)]
    bad = [Sample(Path(f"{category}/a{i}.png"), 1, category, "cut") for i in range(num_anomalous)]
    return normal + bad


def test_partition_is_disjoint_complete_ordered_and_stratified():
    everything = samples(50, 20) + samples(30, 10, "tile")
    parts = partition(everything, (0.6, 0.2, 0.2), seed=3)
    assert sorted(s.image_path for part in parts for s in part) == sorted(
        s.image_path for s in everything
    )
    for part, share in zip(parts, (0.6, 0.2, 0.2), strict=True):
        assert list(part) == [s for s in everything if s in set(part)]
        counts = Counter((s.category, s.label) for s in part)
        assert counts == {
            key: round(n * share)
            for key, n in {
                ("nut", 0): 50,
                ("nut", 1): 20,
                ("tile", 0): 30,
                ("tile", 1): 10,
            }.items()
        }


def test_partition_depends_on_seed_but_not_on_other_categories():
    alone = partition(samples(40), (0.5, 0.5), seed=1)
    together = partition(samples(40) + samples(17, 5, "tile"), (0.5, 0.5), seed=1)
    assert alone[0] == tuple(s for s in together[0] if s.category == "nut")
    assert alone[0] == partition(samples(40), (0.5, 0.5), seed=1)[0]
    assert alone[0] != partition(samples(40), (0.5, 0.5), seed=2)[0]


def test_partition_keeps_groups_together():
    videos = [
        Sample(Path(f"v{v}/{i}.png"), v % 2, "face", group=f"v{v}")
        for v in range(10)
        for i in range(4)
    ]
    parts = partition(videos, (0.5, 0.5), seed=0)
    groups = [{s.group for s in part} for part in parts]
    assert not groups[0] & groups[1]
    assert sorted(map(len, parts)) in ([16, 24], [20, 20])


@pytest.mark.parametrize(
    ("total", "expected"), [(1, [1, 0, 0]), (2, [1, 1, 0]), (3, [1, 1, 1]), (5, [3, 1, 1])]
)
def test_partition_of_few_leaves_no_part_empty_if_possible(total, expected):
    sizes = [len(part) for part in partition(samples(total), (0.6, 0.2, 0.2), seed=0)]
    assert sizes == expected


def test_partition_refuses_wrong_fractions():
    with pytest.raises(ValueError, match=r"sum to 1, got \(0.5, 0.6\)"):
        partition(samples(4), (0.5, 0.6), seed=0)
    with pytest.raises(ValueError, match=r"fraction in \[0, 1\], got -0.2"):
        partition(samples(4), (1.2, -0.2)[::-1], seed=0)


@pytest.mark.parametrize(
    ("fraction", "total", "held_out"), [(0.0, 9, 0), (0.1, 20, 2), (0.1, 3, 1), (0.9, 2, 1)]
)
def test_carve_validation_takes_normals_and_leaves_some(fraction, total, held_out):
    train, validation = carve_validation(samples(total, 4), fraction, seed=0)
    assert len(validation) == held_out
    assert all(s.label == 0 for s in validation)
    assert sum(s.label == 0 for s in train) == total - held_out >= 1
    assert sum(s.label == 1 for s in train) == 4


def test_carve_validation_of_a_single_image_keeps_it_in_train():
    assert carve_validation(samples(1), 0.5, seed=0) == (tuple(samples(1)), ())


def test_carve_validation_moves_a_group_as_a_whole():
    pairs = [
        Sample(Path(f"{v}/{kind}.png"), kind, "face", group=str(v))
        for v in range(6)
        for kind in (0, 1)
    ]
    train, validation = carve_validation(pairs, 0.5, seed=0)
    assert len(train) == len(validation) == 6
    check_disjoint(Splits(train, validation))


def test_take_gives_exact_counts_per_category_and_the_rest():
    parts = take(samples(30) + samples(20, category="tile"), (10, 5), seed=0)
    assert [Counter(s.category for s in part) for part in parts] == [
        {"nut": 10, "tile": 10},
        {"nut": 5, "tile": 5},
        {"nut": 15, "tile": 5},
    ]
    assert not set(parts[0]) & set(parts[2])


def test_take_of_too_few_is_refused_or_scaled():
    with pytest.raises(ValueError, match=r"more than 10 \+ 5 images .* got 15; ask for fewer"):
        take(samples(15), (10, 5), seed=0)
    scaled = [len(part) for part in take(samples(15), (10, 5), seed=0, scale_down=True)]
    assert scaled == [8, 4, 3]
    untouched = [len(part) for part in take(samples(15), (0, 0), seed=0, scale_down=True)]
    assert untouched == [0, 0, 15]


def test_check_disjoint_names_roles_and_an_example():
    one, two = samples(2)
    check_disjoint(Splits((one,), (two,), ()))
    with pytest.raises(ValueError, match=r"1 file\(s\) in both train and test, e\.g\. .*n0\.png"):
        check_disjoint(Splits(train=(one,), test=(one, two)))
    frames = [Sample(Path(f"{i}.png"), 0, "face", group="video 7") for i in range(2)]
    with pytest.raises(ValueError, match=r"group\(s\) in both validation and test.*video 7"):
        check_disjoint(Splits(validation=(frames[0],), test=(frames[1],)))


def test_check_disjoint_sees_through_links(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"both train and validation"):
        check_disjoint(
            Splits((Sample(tmp_path / "a.png", 0, "nut"),), (Sample(tmp_path / "b.png", 0, "nut"),))
        )


def test_describe_counts_says_role_and_label():
    text = describe_counts(Splits(tuple(samples(2)), (), tuple(samples(1, 3))))
    assert text == (
        "train 2 normal + 0 anomalous, validation 0 normal + 0 anomalous, "
        "test 1 normal + 3 anomalous"
    )
