"""How long loaders take to make items, and how long the trainer waits for them."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from torch.utils.data import DataLoader, Dataset

from clad.stopwatch import DECODE, WAIT, Stopwatch

_Item = TypeVar("_Item")
_END = object()


class LoadingClock:
    """Seconds of reading, decoding, resizing, changing and batching images.

    In the process and thread of the stopwatch they are its row ``decode``. In loader processes they
    go by at the same time as everything else, so they are summed apart.

    Args:
        watch: Of the process that trains or tests.
    """

    def __init__(self, watch: Stopwatch) -> None:
        self.watch = watch
        self.num_workers = 0
        self._beside = multiprocessing.Value("d", 0.0)

    @property
    def seconds_beside(self) -> float:
        """Sum over all loader processes; 0 without any."""
        return float(self._beside.value)

    @contextmanager
    def making(self) -> Iterator[None]:
        """Context in which items are made."""
        if self.watch.is_here:
            with self.watch(DECODE):
                yield
            return
        began = time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - began
            with self._beside.get_lock():
                self._beside.value += took

    def loader(
        self,
        dataset: Dataset[Any],
        *,
        collate_fn: Callable[..., Any],
        num_workers: int,
        **settings: Any,  # noqa: ANN401 - passed on as they are
    ) -> DataLoader[Any]:
        """A loader as torch makes it, with the clock in it."""
        self.num_workers = max(self.num_workers, num_workers)
        return _ClockedLoader(
            _ClockedDataset(dataset, self),
            collate_fn=partial(_collate, self, collate_fn),
            num_workers=num_workers,
            **settings,
        )


class _ClockedDataset(Dataset[_Item]):
    def __init__(self, dataset: Dataset[_Item], clock: LoadingClock) -> None:
        self.dataset = dataset
        self.clock = clock
        if hasattr(dataset, "__getitems__"):  # torch asks whether it is there
            self.__getitems__ = partial(_items, self)

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: Any) -> _Item:  # noqa: ANN401 - whatever the data set takes
        with self.clock.making():
            return self.dataset[index]


class _ClockedLoader(DataLoader[_Item]):
    def __iter__(self) -> Iterator[_Item]:  # type: ignore[override]
        assert isinstance(self.dataset, _ClockedDataset)
        watch = self.dataset.clock.watch
        with watch(WAIT):
            batches = super().__iter__()  # starts the processes
        return _waited(batches, watch)


def _waited(batches: Iterator[_Item], watch: Stopwatch) -> Iterator[_Item]:
    while True:
        with watch(WAIT):
            batch: Any = next(batches, _END)
        if batch is _END:
            return
        yield batch


def _items(dataset: _ClockedDataset[_Item], indices: Sequence[Any]) -> list[_Item]:
    with dataset.clock.making():
        found: list[_Item] = dataset.dataset.__getitems__(indices)  # type: ignore[attr-defined]
        return found


def _collate(
    clock: LoadingClock, collate: Callable[[Sequence[_Item]], Any], items: Sequence[_Item]
) -> Any:  # noqa: ANN401 - whatever it makes of them
    with clock.making():
        return collate(items)
