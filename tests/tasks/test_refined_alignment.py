from __future__ import annotations

from dataclasses import replace

import torch
from fakes import FakeTower, fake_batch

from clad.adapters.base import Adapter
from clad.heads.image_text import ImageText
from clad.losses.base import Loss
from clad.prompts.single_pair import SinglePair
from clad.tasks.anomaly_task import AnomalyTask


class Turned(Adapter):
    """Leaves features alone and calls normal what words call anomalous."""

    def attach(self, tower):
        self.factor = torch.nn.Parameter(torch.tensor(-1.0))

    def forward(self, features):
        return features

    def refine(self, features, alignment):
        assert features.pooled is not None
        return replace(alignment, image_logits=self.factor * alignment.image_logits)


class Seen(Loss):
    def forward(self, inputs):
        self.logits = inputs.alignment.image_logits.detach()
        return inputs.alignment.image_logits.square().sum()


def test_losses_and_head_see_what_the_adapter_made_of_the_alignment():
    batch, tower, loss = fake_batch(), FakeTower(), Seen()
    plain = AnomalyTask(tower, ImageText(), SinglePair())
    task = AnomalyTask(FakeTower(), ImageText(), SinglePair(), Turned(), [loss])
    for each in (plain, task):
        each.attach(("bottle", "pcb1"))
        each._is_trained = True
    task.log = lambda *args, **options: None
    task.trainer = type("Still", (), {"global_step": 0})()
    task.training_step(batch, 0).backward()
    scores = plain(batch).scores
    torch.testing.assert_close(loss.logits[:, 0] - loss.logits[:, 1], scores)
    torch.testing.assert_close(task(batch).scores, -scores)
    assert task.adapter.factor.grad.abs() > 0
