from __future__ import annotations

import pytest
import torch

from clad.precision import has_fast_bf16, tower_precision

CPU = torch.device("cpu")


def dtype_of_products():
    matrix = torch.ones(2, 2)
    return (matrix @ matrix).dtype


@pytest.mark.parametrize(
    ("precision", "is_fast", "dtype"),
    [
        ("32", True, torch.float32),
        ("bf16", False, torch.bfloat16),
        ("auto", True, torch.bfloat16),
        ("auto", False, torch.float32),
    ],
)
def test_products_of_matrices(monkeypatch, precision, is_fast, dtype):
    monkeypatch.setattr("clad.precision.has_fast_bf16", lambda device: is_fast)
    with tower_precision(precision, CPU):
        assert dtype_of_products() == dtype


def test_32_is_kept_inside_an_autocast():
    with torch.autocast("cpu", torch.bfloat16), tower_precision("32", CPU):
        assert dtype_of_products() == torch.float32


def test_an_unknown_one_is_refused():
    with pytest.raises(ValueError, match="one of 32, auto, bf16; got '16-mixed'"):
        tower_precision("16-mixed", CPU)


@pytest.mark.parametrize("has_tiles", [True, False])
def test_a_cpu_is_fast_with_amx(monkeypatch, has_tiles):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_tiles)
    assert has_fast_bf16(CPU) is has_tiles


@pytest.mark.parametrize(("capability", "is_fast"), [((7, 5), False), ((8, 0), True), ((9, 0), 1)])
def test_a_gpu_is_fast_from_ampere_on(monkeypatch, capability, is_fast):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert has_fast_bf16(torch.device("cuda:0")) == bool(is_fast)


def test_other_devices_are_not_known_to_be():
    assert not has_fast_bf16(torch.device("meta"))
