"""The GPU benchmark: it ends well without one, and what it times is the real thing."""

from __future__ import annotations

import json
import sys

import encoders_gpu
import pytest
import torch
from tiny_clip import tiny


def test_without_a_gpu_one_sentence_and_success(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["encoders_gpu.py", "--json", str(tmp_path / "found.json")])
    assert encoders_gpu.main() == 0
    assert "not measured: torch sees no GPU here" in capsys.readouterr().out
    assert json.loads((tmp_path / "found.json").read_text())["not_measured"]


@pytest.mark.parametrize(
    ("gpu", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H200", 989),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA L4", 121),
        ("NVIDIA L40S", None),
        ("NVIDIA GeForce RTX 4090", 165),
    ],
)
def test_peak_of_a_name(gpu, peak):
    assert encoders_gpu.peak_of(gpu) == peak


def test_both_ways_on_a_tiny_clip():
    encoder = encoders_gpu.build(tiny(), 32, (2, 4), 2, torch.device("cpu"))
    assert encoders_gpu.to_map(encoder).shape == (2, 32, 32)
    before = [weight.detach().clone() for weight in encoder.adapter.parameters()]
    rows = encoders_gpu.measure("tiny", encoder, 1, peak=1.0)
    assert [row.name for row in rows] == ["tiny, encode + map", "tiny, training step"]
    assert all(row.values["GFLOP per image"] > 0 for row in rows)
    assert not any(map(torch.equal, before, encoder.adapter.parameters())), "weights learn"
    assert not any(weight.requires_grad for weight in encoder.tower.parameters())


def test_operations_of_the_encoder_are_those_of_its_formula():
    encoder = encoders_gpu.build(tiny(), 32, (4,), 1, torch.device("cpu"))
    with torch.utils.flop_counter.FlopCounterMode(display=False) as counter, torch.no_grad():
        encoder.tower.model.visual.transformer(torch.zeros(1, 17, 64, dtype=torch.bfloat16))
    width, tokens, layers = 64, 17, 4
    block = 2 * tokens * 12 * width**2 + 2 * 2 * tokens**2 * width
    assert counter.get_total_flops() == layers * block
