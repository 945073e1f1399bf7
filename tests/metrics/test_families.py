from __future__ import annotations

from importlib import resources

import pytest
import yaml

from clad.metrics.families import family_means, family_of, known_generators, plain_name

# The 25 folders of test images of CLIPping the Deception, as its configs/datasets name them.
CLIPPING = {
    "gan": "progan biggan cyclegan eg3d gaugan stargan stylegan stylegan2 stylegan3",
    "diffusion": "dalle2 glide_50_27 glide_100_10 glide_100_27 guided ldm_100 ldm_200 ldm_200_cfg "
    "sd_512x512 sdxl",
    "autoregressive": "taming",
    "face_manipulation": "deepfake faceswap",
    "commercial": "firefly midjourney_v5 dalle3",
}


def test_the_25_sets_of_clipping_have_families():
    names = [(name, family) for family, each in CLIPPING.items() for name in each.split()]
    assert len(names) == 25
    for name, family in names:
        assert family_of([name]) == family
    text = resources.files("clad.metrics").joinpath("generator_families.yaml").read_text()
    listed = [s for each in yaml.safe_load(text).values() for g in each.values()
              for s in g.get("sets", ())]  # fmt: skip
    assert sorted(listed) == sorted(name for name, _ in names)


def test_every_entry_has_an_owner_and_no_name_two_families():
    text = resources.files("clad.metrics").joinpath("generator_families.yaml").read_text()
    seen: dict[str, str] = {}
    for family, generators in yaml.safe_load(text).items():
        for name, entry in generators.items():
            assert set(entry) <= {"sets", "also", "owner"}
            assert entry["owner"]
            for each in {
                plain_name(n) for n in (name, *entry.get("sets", ()), *entry.get("also", ()))
            }:
                assert each not in seen, f"{each} is listed twice"
                seen[each] = family
    assert seen == known_generators()


def test_names_are_compared_whole_and_unknown_ones_are_other():
    assert plain_name("DALL·E 3") == "dalle3"
    assert family_of(["StyleGAN-2"]) == "gan"
    assert family_of(["stylegan2x"]) == "other"
    assert family_of(["fake", "Adobe Firefly"]) == "commercial"
    assert family_of(["fake"]) == "other"
    assert family_of(["ProGAN"], ["progan"]) == "training"
    assert family_of(["sdxl"], ["SDXL"]) == "training"


def test_means_are_per_family_and_the_training_generator_is_in_none_of_them():
    found = {
        "progan": {"progan": {"image_ap": 1.0}},
        "biggan": {"fake": {"image_ap": 0.8}},
        "faces": {"StyleGAN2": {"image_ap": 0.6}, "ldm_200": {"image_ap": 0.5},
                  "mystery": {"image_ap": 0.1}, "dalle3": {"image_ap": float("nan")}},
        "cats": {"StyleGAN2": {"image_ap": 0.4}},
    }  # fmt: skip
    means, families = family_means(found, ["progan"])
    assert families == {
        "progan": "training", "biggan": "gan", "StyleGAN2": "gan", "ldm_200": "diffusion",
        "faces/mystery": "other", "dalle3": "commercial",
    }  # fmt: skip
    # StyleGAN2 is met twice, averages 0.5 and counts once.
    assert means["gan"]["image_ap"] == pytest.approx((0.8 + 0.5) / 2)
    assert means["diffusion"]["image_ap"] == 0.5
    assert means["training"]["image_ap"] == 1.0
    assert means["other"]["image_ap"] == 0.1
    assert means["commercial"]["image_ap"] != means["commercial"]["image_ap"]
    assert list(means) == ["gan", "diffusion", "commercial", "training", "other"]


def test_forgeries_and_unknown_names_alone_have_no_families():
    assert family_means({"face": {"Deepfakes": {"image_ap": 1.0}, "x": {"image_ap": 0.5}}}) == (
        {},
        {},
    )
    assert family_means({}) == ({}, {})
