from __future__ import annotations

import shutil
import sysconfig

import pytest
import torch
from fakes import FakeTower
from torch import nn

from clad.heads.grad_cam import GradCam
from clad.heads.patch_text import PatchText
from clad.tasks.anomaly_task import AnomalyTask
from clad.tasks.encoding import encode_images
from clad.tasks.execution import EAGER, Execution, expect_compiler, prepare_tower
from clad.towers.timm_image import TimmImageTower
from clad.tuning.full import Full

COMPILED = Execution(compile=True)
IMAGES = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)


def convolutional():
    return TimmImageTower("test_efficientnet", "random", image_size=32)


def has_norms(tower):
    return any(isinstance(module, nn.BatchNorm2d) for module in tower.modules())


@pytest.fixture
def compiled_calls(monkeypatch):
    """What was called through ``torch.compile``, which compiles nothing here."""
    calls = []

    def compile_nothing(function):
        def call(*args, **kwargs):
            calls.append(args)
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(torch, "compile", compile_nothing)
    monkeypatch.setattr("clad.tasks.execution.expect_compiler", lambda: None)
    return calls


class TestFolding:
    def test_a_frozen_tower_is_folded(self):
        tower = convolutional()
        assert has_norms(tower)
        prepare_tower(tower, EAGER, None, PatchText())
        assert not has_norms(tower)

    def test_not_if_it_is_not_wanted(self):
        tower = convolutional()
        prepare_tower(tower, Execution(fold_batch_norm=False), None, PatchText())
        assert has_norms(tower)

    def test_not_if_its_weights_learn_and_come_into_checkpoints(self):
        tower, tuning = convolutional(), Full()
        tuning.apply(tower)
        prepare_tower(tower, EAGER, tuning, PatchText())
        assert has_norms(tower)

    def test_not_if_it_holds_what_a_tuning_added(self):
        tower, tuning = convolutional(), Full()
        tuning.is_own = lambda name: name.endswith("conv_stem.weight")
        prepare_tower(tower, EAGER, tuning, PatchText())
        assert has_norms(tower)


class TestCompiling:
    def test_images_pass_through_what_was_compiled(self, compiled_calls):
        tower = FakeTower()
        plain = encode_images(IMAGES, tower)
        assert not compiled_calls
        prepare_tower(tower, COMPILED, None, PatchText())
        found = encode_images(IMAGES, tower)
        assert len(compiled_calls) == 1
        assert torch.equal(found.pooled, plain.pooled)

    def test_names_in_state_dicts_stay(self, compiled_calls):
        names = set(AnomalyTask(FakeTower(), PatchText()).state_dict())
        task = AnomalyTask(FakeTower(), PatchText(), execution=COMPILED)
        prepare_tower(task.tower, COMPILED, None, task.head)
        assert set(task.state_dict()) == names
        assert not any("_orig_mod" in name for name in names)

    def test_a_head_that_differentiates_is_refused(self, compiled_calls):
        with pytest.raises(ValueError, match=r"without gradients .* got GradCam"):
            prepare_tower(FakeTower(), COMPILED, None, GradCam())

    @pytest.mark.slow
    @pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
    def test_real_kernels_give_the_same_for_batches_of_any_size(self):
        eager, compiled = FakeTower(), FakeTower()
        names = list(compiled.state_dict())
        prepare_tower(compiled, COMPILED, None, PatchText())
        with torch.inference_mode():
            for size in (4, 3, 5):
                pixels = torch.randn(size, 3, 32, 32)
                expected, found = eager(pixels), compiled(pixels)
                torch.testing.assert_close(found.pooled, expected.pooled, atol=1e-5, rtol=0)
                torch.testing.assert_close(found.tokens[0], expected.tokens[0], atol=1e-5, rtol=0)
        assert list(compiled.state_dict()) == names


class TestCompiler:
    def test_none_is_refused_with_the_way_out(self, monkeypatch):
        monkeypatch.setenv("CXX", "no-such-compiler")
        with pytest.raises(ValueError, match=r"found no no-such-compiler; install .* or set it"):
            expect_compiler()

    def test_missing_headers_are_refused(self, monkeypatch, tmp_path):
        monkeypatch.setenv("CXX", "python3" if shutil.which("python3") else "python")
        monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
        with pytest.raises(ValueError, match=r"expected Python's headers .*Python\.h"):
            expect_compiler()

    def test_both_pass(self, monkeypatch, tmp_path):
        (tmp_path / "Python.h").touch()
        monkeypatch.setattr(shutil, "which", lambda name: name)
        monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
        expect_compiler()
