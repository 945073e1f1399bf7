from __future__ import annotations

import pytest
from torch.utils.data import DistributedSampler

from clad.data.datamodule import AnomalyDataModule
from clad.data.mvtec_ad import MVTecAD
from clad.data.shares import Share


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
@pytest.mark.parametrize("size", [7, 8, 100])
def test_one_behind_the_other_they_are_the_data_set(size, processes):
    shares = [Share(range(size), processes, rank) for rank in range(processes)]
    assert [position for share in shares for position in share] == list(range(size))
    lengths = [len(share) for share in shares]
    assert max(lengths) - min(lengths) <= 1
    assert min(lengths) > 0


def test_fewer_images_than_processes_are_refused():
    with pytest.raises(ValueError, match="an image for each of 4 processes, got 3; use fewer"):
        Share(range(3), 4, 0)


class TwoProcesses:
    """What the data module asks of a trainer."""

    current_epoch = 0

    def __init__(self, rank):
        self.distributed_sampler_kwargs = {"num_replicas": 2, "rank": rank}


def paths(loader):
    return [path for batch in loader for path in batch.paths]


def test_test_and_validation_are_shared_and_what_is_fitted_sees_everything(tmp_path):
    MVTecAD().write_tiny(tmp_path)
    source = MVTecAD(validation_fraction=0.5)
    data = AnomalyDataModule(source, tmp_path, image_size=16, test_batch_size=4, num_workers=0)
    whole = {name: paths(getattr(data, f"{name}_dataloader")()) for name in ("test", "val")}
    assert len(whole["test"]) == len(set(whole["test"]))
    found = {"test": [], "val": []}
    for rank in range(2):
        data.trainer = TwoProcesses(rank)
        for name, seen in found.items():
            loader = getattr(data, f"{name}_dataloader")()
            assert isinstance(loader.sampler, DistributedSampler), "or Lightning shares again"
            seen += paths(loader)
        assert paths(data.calibration_dataloader()) == whole["val"]
        references = paths(data.reference_dataloader())
        assert len(references) == len(set(references)) == 8
        assert paths(data.predict_dataloader()) == paths(data.test_dataloader())
    assert found == whole
