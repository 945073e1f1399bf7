from __future__ import annotations

import pytest
from tiny_runs import make_data, make_trainer, memory_recipe, text_recipe, write_images

from clad.tasks.requirements import expect_one_process


def test_a_head_with_scales_is_refused_before_training_without_validation(tmp_path):
    write_images(tmp_path)
    task, trainer = text_recipe(), make_trainer()
    message = r"expected validation images for Fused, .* data\.shots leaves none"
    with pytest.raises(ValueError, match=message):
        trainer.fit(task, datamodule=make_data(tmp_path, shots=4))
    assert trainer.global_step == 0
    make_trainer().fit(memory_recipe(), datamodule=make_data(tmp_path, shots=4))


def test_a_recipe_in_which_nothing_learns_is_refused_in_several_processes():
    memory, text = memory_recipe(), text_recipe()
    text.attach(("nut",))
    memory.attach(("nut",))
    expect_one_process(memory.parameters(), 1)
    expect_one_process(text.parameters(), 2)
    with pytest.raises(
        ValueError, match=r"one process for a recipe in which nothing learns, got 2"
    ):
        expect_one_process(memory.parameters(), 2)
