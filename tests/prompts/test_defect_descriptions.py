from __future__ import annotations

import torch
from fakes import FakeTower

from clad.prompts.defect_descriptions import DefectDescriptions
from clad.prompts.words import class_words


def test_bank_holds_every_sentence_with_its_meaning() -> None:
    tower = FakeTower()
    bank = DefectDescriptions()(("bottle", "mono"), tower).bank
    assert bank is not None
    rows = list(zip(bank.texts, bank.class_names, bank.labels, bank.defect_types, strict=True))
    assert ("a glass bottle with contamination inside", "bottle", 1, "contamination") in rows
    assert ("a flawless glass bottle with a clean inside", "bottle", 0, "good") in rows
    for category in ("bottle", "mono"):
        words = class_words(category)
        count = len(words.normal) + sum(len(texts) for texts in words.defects.values())
        assert bank.class_names.count(category) == count


def test_prototypes_are_means_of_unit_embeddings() -> None:
    tower = FakeTower()
    made = DefectDescriptions()(("mono", "hazelnut"), tower).embeddings
    for row, category in enumerate(("mono", "hazelnut")):
        words = class_words(category)
        sides = (words.normal, [text for texts in words.defects.values() for text in texts])
        for side, texts in enumerate(sides):
            total = torch.zeros(tower.embed_dim)
            for text in texts:
                vector = tower.encode_text([text])[0]
                total += vector / vector.norm()
            torch.testing.assert_close(made[row, side], total / total.norm())


def test_user_words_reach_the_bank(tmp_path) -> None:
    words = tmp_path / "w.yaml"
    words.write_text("categories: {blade: {defects: {nick: ['a {} with a nick']}}}")
    bank = DefectDescriptions(words)(("blade",), FakeTower()).bank
    assert bank is not None
    assert [t for t, label in zip(bank.texts, bank.labels, strict=True) if label] == [
        "a blade with a nick"
    ]
