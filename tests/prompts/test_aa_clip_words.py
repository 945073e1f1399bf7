from __future__ import annotations

from pathlib import Path

import pytest

from clad.prompts.ensemble_files import load_ensemble
from clad.prompts.words import CLASS_NAMES_FOLDER, class_words, read_words, shipped_words


def test_number_and_wording_of_the_prompts():
    normal, anomalous = load_ensemble("aa_clip").prompts("dark bottle")
    assert (len(normal), len(anomalous)) == (3 * 2, 5 * 2)
    assert len(set(normal + anomalous)) == 16
    assert normal[:3] == ["dark bottle.", "a photo of dark bottle.", "a dark bottle."]
    assert anomalous[-1] == "a photo of a dark bottle with damage."


def test_class_names_describe_every_object_of_both_data_sets_and_nothing_else():
    names = read_words(CLASS_NAMES_FOLDER / "aa_clip.yaml")
    assert len(names) == 15 + 12
    assert set(names) <= set(shipped_words())
    assert all(entry.normal == () and entry.defects is None for entry in names.values())


def test_a_shipped_list_is_taken_by_its_name():
    assert class_words("pcb1").class_name == "printed circuit board"
    described = class_words("pcb1", Path("aa_clip"))
    assert described.class_name == "dual ultrasonic distance sensor pcb module"
    assert described.defects.keys() == class_words("pcb1").defects.keys()
    assert class_words("solar", Path("aa_clip")) == class_words("solar")
    with pytest.raises(FileNotFoundError, match="expected a word file at no_such_list, found none"):
        class_words("pcb1", Path("no_such_list"))
