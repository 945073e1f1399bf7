from __future__ import annotations

import pytest
import torch
from fakes import FakeTower

from clad.prompts.single_pair import SinglePair


def test_prototypes_are_the_normalised_sentences() -> None:
    tower = FakeTower()
    made = SinglePair(normal="a good {}", anomalous="a bad {} here")(("metal_nut", "x_y"), tower)
    for row, name in enumerate(("metal nut", "x y")):
        raw = tower.encode_text([f"a good {name}", f"a bad {name} here"])
        expected = raw / raw.norm(dim=1, keepdim=True)
        torch.testing.assert_close(made.embeddings[row], expected)
    assert made.bank is None
    assert not list(SinglePair().parameters())


def test_user_class_names_are_used(tmp_path) -> None:
    words = tmp_path / "w.yaml"
    words.write_text("categories: {part_7: {class_name: gear wheel}}")
    tower = FakeTower()
    made = SinglePair(words=words)(("part_7",), tower).embeddings[0, 0]
    raw = tower.encode_text(["a photo of a flawless gear wheel"])[0]
    torch.testing.assert_close(made, raw / raw.norm())


@pytest.mark.parametrize("pair", [("", "b"), ("a {}", " "), ("a {}", "a {}")])
def test_useless_sentences_are_refused(pair) -> None:
    with pytest.raises(ValueError, match="expected two different sentences, got normal="):
        SinglePair(*pair)
