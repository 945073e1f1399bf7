"""One test that several processes share, with a stand-in for what connects them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from tiny_runs import fitted, make_data, make_trainer, memory_recipe, write_images

from clad.data.shares import Share
from clad.tasks import evaluation_steps
from clad.tasks.processes import distributed, of_all_processes, rank

pytestmark = pytest.mark.filterwarnings("ignore")


def test_one_process_tells_itself():
    own = {"a": [1]}
    (told,) = of_all_processes(own)
    assert told is own
    assert rank() == 0


def test_each_process_hears_all_in_the_order_of_ranks(monkeypatch):
    told = []

    def broadcast(box, src):
        """The others tell their rank; what process 1 tells stays in its box."""
        told.append((src, box[0]))
        if src != 1:
            box[0] = f"of {src}"

    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 3)
    monkeypatch.setattr(distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(distributed, "broadcast_object_list", broadcast)
    assert list(of_all_processes("mine")) == ["of 0", "mine", "of 2"]
    assert told == [(0, None), (1, "mine"), (2, None)]
    assert rank() == 1


def test_two_halves_of_a_test_are_the_whole(tmp_path, monkeypatch):
    write_images(tmp_path)
    task = memory_recipe()
    fitted(tmp_path, task, max_epochs=1)

    def run(processes=None):
        data = make_data(tmp_path, test_batch_size=5)
        if processes is not None:
            monkeypatch.setattr(data, "_share", lambda dataset: Share(dataset, *processes))
        make_trainer().test(task, datamodule=data, verbose=False)
        return task.collected, task.evaluation

    whole, expected = run()
    told = []

    def tell(own):
        """The first process is done; what it told is what the second one hears first."""
        told.append(pickle.loads(pickle.dumps(own)))
        return iter([own])

    monkeypatch.setattr(evaluation_steps, "of_all_processes", tell)
    assert len(run((2, 0))[0]) == len(whole) // 2
    heard = iter(told.copy())
    monkeypatch.setattr(evaluation_steps, "of_all_processes", lambda own: iter([next(heard), own]))
    found, evaluation = run((2, 1))
    assert found.paths == whole.paths
    np.testing.assert_allclose(found.scores, whole.scores, rtol=1e-6)
    assert set(found.keepsakes.by_row()) == set(whole.keepsakes.by_row())
    for name, row in expected.per_category.items():
        for metric, value in row.items():
            tolerance = 0.01 if metric.startswith("pixel") else 1e-12
            assert evaluation.per_category[name][metric] == pytest.approx(value, abs=tolerance)
