"""Which images each of several processes evaluates."""

from __future__ import annotations

from collections.abc import Iterator, Sized

from torch.utils.data import DistributedSampler


class Share(DistributedSampler[int]):
    """Positions of one process: a run of them, and no position in two processes.

    ``DistributedSampler`` repeats images until all processes have equally many, and would count
    those twice. Runs follow each other by rank, so that results one behind the other are in the
    order of the data set. As a subclass it is left in place by Lightning.

    Args:
        dataset: What to share; at least as many items as there are processes.
        num_replicas: Number of processes.
        rank: Of this process, from 0.
    """

    def __init__(self, dataset: Sized, num_replicas: int, rank: int) -> None:
        size = len(dataset)
        if size < num_replicas:
            raise ValueError(
                f"expected an image for each of {num_replicas} processes, got {size}; "
                "use fewer (trainer.devices)"
            )
        super().__init__(dataset, num_replicas, rank, shuffle=False)  # type: ignore[arg-type]
        self.positions = range(rank * size // num_replicas, (rank + 1) * size // num_replicas)

    def __len__(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[int]:
        return iter(self.positions)
