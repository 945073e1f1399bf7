from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fakes import FakeTower, fake_batch

from clad.losses.pairs import text_pairs
from clad.prompts.defect_descriptions import DefectDescriptions
from clad.prompts.single_pair import SinglePair
from clad.types import DescriptionBank, LossInputs, TextPrototypes


def inputs_for(batch, prototypes, tower) -> LossInputs:
    return LossInputs(batch, tower.encode_image(batch.images), prototypes, None)


def bank_of(rows) -> TextPrototypes:
    """A bank from (text, class, label, kind); equal texts get equal embeddings."""
    texts, owners, labels, kinds = zip(*rows, strict=True)
    embeddings = torch.nn.functional.normalize(FakeTower().encode_text(texts), dim=-1)
    names = tuple(dict.fromkeys(owners))
    bank = DescriptionBank(texts, embeddings, owners, labels, kinds)
    return TextPrototypes(names, torch.zeros(len(names), 2, 16), bank)


ROWS = [
    ("fine nut", "nut", 0, "good"),
    ("scratched nut", "nut", 1, "scratch"),
    ("scraped nut", "nut", 1, "scratch"),
    ("bent nut", "nut", 1, "bent"),
    ("fine board", "pcb1", 0, "good"),
    ("burnt board", "pcb1", 1, "burnt"),
    ("fine board", "pcb2", 0, "good"),
    ("wet board", "pcb2", 1, "wet"),
]


def test_masks_by_hand() -> None:
    batch = replace(
        fake_batch(("nut", "nut", "nut", "pcb1"), (0, 1, 1, 0)),
        defect_types=("good", "scratch", "synthetic", "good"),
    )
    pairs = text_pairs(inputs_for(batch, bank_of(ROWS), FakeTower()))
    positive = [
        [1, 0, 0, 0, 0, 0, 0, 0],
        [0, 1, 1, 0, 0, 0, 0, 0],  # its own defect
        [0, 1, 1, 1, 0, 0, 0, 0],  # a defect nobody described: every defect of its class
        [0, 0, 0, 0, 1, 0, 0, 0],
    ]
    negative = [
        [0, 1, 1, 1, 1, 1, 1, 1],
        [1, 0, 0, 0, 1, 1, 1, 1],  # "bent nut" is of its class and state: neither
        [1, 0, 0, 0, 1, 1, 1, 1],
        [1, 1, 1, 1, 0, 1, 0, 1],  # "fine board" of pcb2 has the same words: neither
    ]
    assert pairs.positive.int().tolist() == positive
    assert pairs.negative.int().tolist() == negative


def slow_masks(batch, bank) -> tuple[list[list[bool]], list[list[bool]]]:
    """An independent reading of the docstring, in plain loops over texts."""
    positives, negatives = [], []
    for category, label, kind in zip(
        batch.categories, batch.labels.tolist(), batch.defect_types, strict=True
    ):
        count = range(len(bank.texts))
        state = [bank.class_names[j] == category and bank.labels[j] == label for j in count]
        exact = [state[j] and bank.defect_types[j] == kind for j in count]
        positive = exact if any(exact) else state
        said = {bank.texts[j] for j in count if positive[j]}
        positives.append(positive)
        negatives.append([not state[j] and bank.texts[j] not in said for j in count])
    return positives, negatives


def test_masks_of_shipped_words_match_plain_loops() -> None:
    tower = FakeTower()
    categories = ("pcb1", "pcb2", "pcb3", "macaroni1", "macaroni2", "pill", "unknown_part")
    prototypes = DefectDescriptions()(categories, tower)
    chosen = tuple(categories[row % len(categories)] for row in range(14))
    batch = fake_batch(chosen, [row // 7 for row in range(14)])
    pairs = text_pairs(inputs_for(batch, prototypes, tower))
    positive, negative = slow_masks(batch, prototypes.bank)
    assert pairs.positive.tolist() == positive
    assert pairs.negative.tolist() == negative


def test_without_a_bank_prototypes_are_the_texts() -> None:
    tower = FakeTower()
    prototypes = SinglePair()(("bottle", "pcb1", "pcb2"), tower)
    pairs = text_pairs(inputs_for(fake_batch(), prototypes, tower))
    torch.testing.assert_close(pairs.text, prototypes.embeddings.reshape(6, 16))
    assert pairs.positive.int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [0, 1, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, 0],
        [0, 0, 0, 1, 0, 0],
    ]
    assert pairs.negative.int().tolist() == [
        [0, 1, 1, 1, 1, 1],
        [1, 0, 1, 1, 1, 1],
        [1, 1, 0, 1, 0, 1],  # pcb2 shares pcb1's class name, hence its words
        [1, 1, 1, 0, 1, 0],
    ]


def test_per_image_prototypes_belong_to_their_image() -> None:
    tower, batch = FakeTower(), fake_batch(("face",) * 3, (0, 1, 1))
    embeddings = torch.nn.functional.normalize(torch.randn(3, 2, 16), dim=-1)
    prototypes = TextPrototypes(("face",) * 3, embeddings, per_image=True)
    pairs = text_pairs(inputs_for(batch, prototypes, tower))
    assert pairs.positive.nonzero().tolist() == [[0, 0], [1, 3], [2, 5]]
    assert pairs.negative.nonzero().tolist() == [
        [0, 1], [0, 3], [0, 5], [1, 0], [1, 2], [1, 4], [2, 0], [2, 2], [2, 4],
    ]  # fmt: skip


def test_missing_sides_are_refused() -> None:
    tower, batch = FakeTower(aligned=False), fake_batch()
    prototypes = SinglePair()(("bottle", "pcb1"), tower)
    with pytest.raises(ValueError, match="expected aligned image features for an image-text loss"):
        text_pairs(inputs_for(batch, prototypes, tower))
    with pytest.raises(ValueError, match="expected text prototypes for an image-text loss"):
        text_pairs(inputs_for(batch, None, FakeTower()))


def test_undescribed_category_is_refused() -> None:
    tower = FakeTower()
    prototypes = SinglePair()(("bottle",), tower)
    with pytest.raises(ValueError, match=r"got none of \[\('pcb1', 0\), \('pcb1', 1\)\]; pass"):
        text_pairs(inputs_for(fake_batch(), prototypes, tower))


def test_half_precision_does_not_merge_similar_texts() -> None:
    """Two prototypes at cosine 0.9995, as close as bfloat16 cannot tell from 1."""
    embeddings = torch.nn.functional.normalize(
        torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.03], [0.0, 1.0]]), dim=-1
    )
    prototypes = TextPrototypes(("x", "y"), embeddings.reshape(2, 2, 2))
    features = replace(
        FakeTower().encode_image(fake_batch(("x",), (0,)).images),
        pooled=torch.tensor([[1.0, 0.0]], dtype=torch.bfloat16),
    )
    inputs = LossInputs(fake_batch(("x",), (0,)), features, prototypes, None)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pairs = text_pairs(inputs)
    assert pairs.negative.tolist() == [[False, True, True, True]]
    assert pairs.image.dtype == pairs.text.dtype == torch.float32


def test_one_sentence_is_itself_however_its_embeddings_come_out() -> None:
    """A text side in training embeds "fine board" of pcb1 and of pcb2 differently (dropout)."""
    prototypes = bank_of(ROWS)
    noise = 0.2 * torch.randn(prototypes.bank.embeddings.shape)
    shaken = torch.nn.functional.normalize(prototypes.bank.embeddings + noise, dim=-1)
    learning = replace(prototypes, bank=replace(prototypes.bank, embeddings=shaken))
    batch = fake_batch(("pcb1",), (0,))
    pairs = text_pairs(inputs_for(batch, learning, FakeTower()))
    assert pairs.negative.int().tolist() == [[1, 1, 1, 1, 0, 1, 0, 1]]


def test_a_collapsed_text_side_still_has_negatives() -> None:
    """If all sentences coincide, telling them apart is what the loss is for."""
    prototypes = bank_of(ROWS)
    same = torch.nn.functional.normalize(torch.ones_like(prototypes.bank.embeddings), dim=-1)
    collapsed = replace(prototypes, bank=replace(prototypes.bank, embeddings=same))
    pairs = text_pairs(inputs_for(fake_batch(("nut",), (0,)), collapsed, FakeTower()))
    assert pairs.negative.int().tolist() == [[0, 1, 1, 1, 1, 1, 1, 1]]
