from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from clad.prompts.words import (
    GENERIC,
    WORDS_FOLDER,
    class_words,
    read_words,
    sentences,
    shipped_words,
)

FILES = sorted(WORDS_FOLDER.glob("*.yaml"))

# The folders of the owner's test sets, typed from Bergmann et al. (IJCV 2021), table of defects.
MVTEC_AD = {
    "bottle": "broken_large broken_small contamination",
    "cable": "bent_wire cable_swap combined cut_inner_insulation cut_outer_insulation "
    "missing_cable missing_wire poke_insulation",
    "capsule": "crack faulty_imprint poke scratch squeeze",
    "carpet": "color cut hole metal_contamination thread",
    "grid": "bent broken glue metal_contamination thread",
    "hazelnut": "crack cut hole print",
    "leather": "color cut fold glue poke",
    "metal_nut": "bent color flip scratch",
    "pill": "color combined contamination crack faulty_imprint pill_type scratch",
    "screw": "manipulated_front scratch_head scratch_neck thread_side thread_top",
    "tile": "crack glue_strip gray_stroke oil rough",
    "toothbrush": "defective",
    "transistor": "bent_lead cut_lead damaged_case misplaced",
    "wood": "color combined hole liquid scratch",
    "zipper": "broken_teeth combined fabric_border fabric_interior rough split_teeth "
    "squeezed_teeth",
}
PLAIN_VISA = {"candle", "capsules", "cashew", "chewinggum", "fryum", "pipe_fryum"}
VISA = PLAIN_VISA | {"macaroni1", "macaroni2", "pcb1", "pcb2", "pcb3", "pcb4"}
OTHERS = {
    "magnetic_tile": {"blowhole", "break", "crack", "fray", "uneven"},
    "textile": {"local", "global"},
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_shipped_file_names_its_source_and_slots_every_sentence(path) -> None:
    assert len(yaml.safe_load(path.read_text())["source"]) > 20
    for category, entry in read_words(path).items():
        assert category == GENERIC or entry.class_name
        assert len(entry.normal) >= 3
        assert entry.defects
        everything = [*entry.normal, *(t for texts in entry.defects.values() for t in texts)]
        assert len(set(everything)) == len(everything), category
        for text in everything:
            assert text.count("{}") == 1, text
            assert "{" not in text.replace("{}", ""), text
            assert not re.search(r"  |[.!?]$|[A-Z]", text), text


def test_mvtec_ad_is_described_defect_by_defect() -> None:
    words = shipped_words()
    for category, defects in MVTEC_AD.items():
        assert set(words[category].defects or ()) == set(defects.split()), category
    assert sum(len(defects.split()) for defects in MVTEC_AD.values()) == 73


def test_visa_solar_textile_tile_and_face_are_described() -> None:
    words = shipped_words()
    assert set(read_words(WORDS_FOLDER / "visa.yaml")) == VISA
    assert set(words) >= VISA
    for category, defects in OTHERS.items():
        assert set(words[category].defects or ()) == defects
    assert words["mono"].defects == words["poly"].defects
    assert {"crack", "inactive_area", "soldering_failure"} <= set(words["mono"].defects or ())
    assert {"swapped_face", "blending_seam", "generated_face"} <= set(words["face"].defects or ())
    assert words["faces"] == words["face"]


def test_class_words_fill_the_class_name() -> None:
    nut = class_words("metal_nut")
    assert nut.class_name == "metal nut"
    assert nut.defects["scratch"] == ("a metal nut with a scratch on its face",)
    assert all("metal nut" in text for text in nut.normal)
    assert class_words("pcb1").class_name == "printed circuit board"


def test_unknown_category_speaks_by_its_own_name() -> None:
    words = class_words("turbine_blade")
    assert words.class_name == "turbine blade"
    assert words.normal[0] == "a photo of a flawless turbine blade"
    assert words.defects["crack"] == ("a turbine blade with a crack running through it",)


def test_category_of_a_part_speaks_by_what_follows_the_slash(tmp_path) -> None:
    assert class_words("left/metal_nut") == class_words("metal_nut")
    assert class_words("left/turbine_blade").class_name == "turbine blade"
    own = write(tmp_path, "categories: {left/metal_nut: {class_name: left nut}}")
    assert class_words("left/metal_nut", own).class_name == "left nut"
    assert class_words("right/metal_nut", own).class_name == "metal nut"


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def test_user_words_are_laid_over_shipped_ones(tmp_path) -> None:
    path = write(
        tmp_path,
        """
categories:
  metal_nut:
    class_name: lock nut
    defects:
      scratch: ["a scraped {}"]
      rust: ["a rusty {}"]
  blade:
    defects:
      nick: ["a {} with a nick"]
""",
    )
    nut = class_words("metal_nut", path)
    assert nut.class_name == "lock nut"
    assert nut.defects["scratch"] == ("a scraped lock nut",)
    assert nut.defects["rust"] == ("a rusty lock nut",)
    assert nut.defects["bent"] == ("a lock nut with a bent tooth",)
    assert nut.normal[1] == "a flawless lock nut with the right side up"
    blade = class_words("blade", path)
    assert blade.class_name == "blade"
    assert blade.normal == class_words("blade").normal
    assert dict(blade.defects) == {"nick": ("a blade with a nick",)}
    assert class_words("metal_nut").class_name == "metal nut"


def test_edited_user_words_are_read_again(tmp_path) -> None:
    import os

    path = write(tmp_path, "categories: {blade: {class_name: sword}}")
    assert class_words("blade", path).class_name == "sword"
    write(tmp_path, "categories: {blade: {class_name: razor}}")
    os.utime(path, ns=(1, 1))
    assert class_words("blade", path).class_name == "razor"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("categories: {a: {normal: [{} flawless]}}", "expected valid YAML.*near line 1; quote"),
        ("- a", "expected a mapping at the top of the word file .*, got list"),
        ("category: {}", "expected only the keys categories, source in .*got .'category'"),
        ("source: me", "expected `categories` in .* to map category names"),
        ("categories: []", r"expected `categories` .* got \[\]"),
        ("categories: {a: b}", "expected .*: a to map class_name, defects, normal"),
        ("categories: {a: {defect: {}}}", "expected only the keys class_name, defects, normal"),
        ("categories: {a: {class_name: 3}}", "expected class_name of .*: a to be words, got 3"),
        ("categories: {a: {defects: [x]}}", "expected defects of .*: a to map defect types"),
        ("categories: {a: {normal: x}}", "expected a non-empty list of sentences at .*a: normal"),
        ("categories: {a: {normal: []}}", "expected a non-empty list of sentences"),
        ("categories: {a: {normal: [{}]}}", "expected sentences at .*; put quotes around"),
        ("categories: {a: {normal: ['b ']}}", "without surrounding blanks at .*, got 'b '"),
        ("categories: {a: {normal: ['']}}", "without surrounding blanks"),
        ("categories: {a: {defects: {x: [b, b]}}}", "each sentence once at .*a: defects: x"),
    ],
)
def test_malformed_user_words_are_refused(tmp_path, text, message) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ValueError, match=message) as caught:
        class_words("a", path)
    assert "mine.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_user_words_are_refused(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected a word file at .*none.yaml, found none"):
        class_words("a", tmp_path / "none.yaml")


def test_sentences_keep_their_order() -> None:
    assert sentences(["b", "a"], "here") == ("b", "a")
