from __future__ import annotations

import shutil

import pytest

from clad.data.fingerprint import fingerprint
from clad.data.mvtec_ad import MVTecAD


@pytest.fixture
def root(tmp_path):
    MVTecAD().write_tiny(tmp_path / "data")
    return tmp_path / "data"


def take(root, seed=0):
    return fingerprint("mvtec_ad", root, MVTecAD().list_samples(root, "all", seed))


def test_fingerprint_does_not_depend_on_the_place(root, tmp_path):
    shutil.copytree(root, tmp_path / "elsewhere" / "data")
    assert take(root) == take(tmp_path / "elsewhere" / "data")
    assert str(tmp_path) not in str(take(root))


def test_fingerprint_counts_by_role_category_and_label(root):
    made = take(root)
    assert made["source"] == "mvtec_ad"
    assert made["root"] == "data"
    assert made["counts"]["train"] == {
        "metal_nut": {"normal": 7, "anomalous": 0},
        "tile": {"normal": 7, "anomalous": 0},
    }
    assert made["counts"]["test"]["tile"] == {"normal": 3, "anomalous": 6}


@pytest.mark.parametrize("change", ["longer", "renamed", "mask", "split"])
def test_fingerprint_changes_with_files_and_roles(root, change):
    before = take(root)["sha256"]
    seed = 0
    if change == "longer":
        with (root / "tile/test/good/000.png").open("ab") as file:
            file.write(b"x")
    elif change == "renamed":
        (root / "tile/test/good/000.png").rename(root / "tile/test/good/009.png")
    elif change == "mask":
        with (root / "tile/ground_truth/dark_spot/000_mask.png").open("ab") as file:
            file.write(b"x")
    else:
        seed = 3
    assert take(root, seed)["sha256"] != before
