"""SAM inside Lightning, with the task's own random numbers."""

from __future__ import annotations

import torch
from tiny_runs import fitted, text_recipe, write_images

from clad.losses.image_cross_entropy import ImageCrossEntropy
from clad.optim.sam import SAM


def test_lightning_looks_twice_at_each_batch_with_the_same_dropped_units(tmp_path, monkeypatch):
    write_images(tmp_path)
    looks = []

    class Watched(ImageCrossEntropy):
        def forward(self, inputs):
            looks.append((inputs.batch.paths, torch.rand(()).item(), inputs.batch.images.sum()))
            return super().forward(inputs)

    task = text_recipe(losses=[Watched()], optimizer=lambda p: SAM(p, lr=0.01))
    before = {}
    original = task.attach

    def attach(names):
        original(names)
        before.update({k: v.clone() for k, v in task.adapter.named_parameters()})

    monkeypatch.setattr(task, "attach", attach)
    trainer = fitted(tmp_path, task, max_epochs=1)
    assert trainer.global_step == 3
    assert len(looks) == 2 * 3
    assert looks[::2] == looks[1::2], "the second look saw other images or random numbers"
    assert len({number for _, number, _ in looks}) == 3
    after = dict(task.adapter.named_parameters())
    assert any(not torch.equal(after[name], value) for name, value in before.items())
