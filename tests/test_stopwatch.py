"""Rows of a stopwatch: exclusive, complete, free where nobody asks; loaders beside it."""

from __future__ import annotations

import os
import pickle
import time

import pytest
import torch
from torch.utils.data import Dataset

from clad.data.clock import LoadingClock
from clad.stopwatch import Stopwatch, unwatched

ITEM_S = 0.02


class SlowItems(Dataset[int]):
    def __init__(self, length: int = 6) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> int:
        time.sleep(ITEM_S)
        return index


class SlowBatches(SlowItems):
    def __getitems__(self, indices: list[int]) -> list[int]:
        time.sleep(ITEM_S)
        return indices


def test_each_moment_belongs_to_the_innermost_row() -> None:
    watch = Stopwatch()
    watch.start()
    began = time.perf_counter()
    time.sleep(0.02)
    with watch("outer"):
        time.sleep(0.03)
        with watch("inner"):
            time.sleep(0.05)
        time.sleep(0.01)
    total = watch.stop()
    wall = time.perf_counter() - began
    expected = {"other": 0.02, "outer": 0.04, "inner": 0.05}
    assert watch.seconds == pytest.approx(expected, abs=0.015)
    assert total == pytest.approx(wall, abs=0.002)
    assert total == pytest.approx(sum(watch.seconds.values()), abs=1e-12)


def test_an_error_gives_the_row_back() -> None:
    watch = Stopwatch()
    watch.start()
    with pytest.raises(KeyError), watch("broken"):
        raise KeyError
    time.sleep(0.02)
    watch.stop()
    assert watch.seconds["broken"] < 0.01 < watch.seconds["other"]


def test_start_forgets() -> None:
    watch = Stopwatch()
    watch.enter("earlier")
    time.sleep(0.01)
    watch.start()
    assert watch.stop() < 0.005
    assert list(watch.seconds) == ["other"]


def test_the_accelerator_is_waited_for_at_every_change() -> None:
    pending = [0.03]

    def synchronise() -> None:
        while pending:
            time.sleep(pending.pop())

    watch = Stopwatch(synchronise)
    watch.start()
    pending.clear()
    with watch("encode"):
        pending.append(0.03)  # a kernel that was only started
    watch.stop()
    assert watch.seconds["encode"] >= 0.03


@pytest.mark.gpu
def test_kernels_count_for_who_started_them() -> None:
    watch = Stopwatch(torch.cuda.synchronize)
    torch.cuda.synchronize()
    watch.start()
    with watch("encode"):
        torch.cuda._sleep(200_000_000)  # cycles; returns at once
    with watch("head"):
        pass
    watch.stop()
    assert watch.seconds["encode"] > 0.02 > watch.seconds["head"]


def test_unwatched_costs_a_call() -> None:
    assert unwatched("encode") is unwatched("head")
    with unwatched("encode"), unwatched("encode"):
        pass


def loaded(num_workers: int, dataset: SlowItems, wait_s: float = 0.0) -> tuple[list, LoadingClock]:
    clock = LoadingClock(Stopwatch())
    clock.watch.start()
    loader = clock.loader(
        dataset, collate_fn=torch.tensor, num_workers=num_workers, batch_size=2, shuffle=False
    )
    batches = []
    for batch in loader:
        batches.append(batch.tolist())
        time.sleep(wait_s)
    clock.watch.stop()
    assert len(loader) == 3
    return batches, clock


def test_decoding_in_this_process_is_a_row() -> None:
    batches, clock = loaded(0, SlowItems())
    assert batches == [[0, 1], [2, 3], [4, 5]]
    assert clock.watch.seconds["decode"] == pytest.approx(6 * ITEM_S, abs=0.05)
    assert clock.watch.seconds["wait for data"] < 0.03
    assert (clock.seconds_beside, clock.num_workers) == (0, 0)


def test_data_sets_that_load_whole_batches_still_do() -> None:
    batches, clock = loaded(0, SlowBatches())
    assert batches == [[0, 1], [2, 3], [4, 5]]
    assert clock.watch.seconds["decode"] == pytest.approx(3 * ITEM_S, abs=0.04)


def test_decoding_in_other_processes_is_summed_beside() -> None:
    batches, clock = loaded(1, SlowItems(), wait_s=0.1)
    assert batches == [[0, 1], [2, 3], [4, 5]]
    assert "decode" not in clock.watch.seconds
    assert clock.seconds_beside == pytest.approx(6 * ITEM_S, abs=0.06)
    assert clock.num_workers == 1
    assert clock.watch.seconds["other"] >= 0.3, "the loop's own work is not waiting"


def test_another_process_is_not_here() -> None:
    watch = Stopwatch()
    assert watch.is_here
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, b"here" if watch.is_here else b"away")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 4) == b"away"


def test_a_stopwatch_travels_to_spawned_processes() -> None:
    assert pickle.loads(pickle.dumps(Stopwatch())).seconds == {}
