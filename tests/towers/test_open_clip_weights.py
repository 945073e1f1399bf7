from __future__ import annotations

import json
import pickle
from pathlib import Path

import open_clip
import pytest
import torch
import yaml
from open_clip.transformer import QuickGELU
from tiny_clip import TEXTS, save_tiny, tiny
from torch import nn

from clad.towers.open_clip import OpenClipTower
from clad.towers.open_clip_model import read_architecture
from clad.towers.open_clip_weights import find_weights

CONFIGS = Path(__file__).parents[2] / "configs" / "tower"


class TestArchitecture:
    def test_unknown_name_suggests_close_ones(self):
        with pytest.raises(ValueError, match=r"got 'ViT-B16'; close names are .*ViT-B-16"):
            OpenClipTower("ViT-B16", "random")

    def test_json_files_with_and_without_preprocessing(self, tmp_path):
        bare, full = tmp_path / "bare.json", tmp_path / "open_clip_config.json"
        bare.write_text(json.dumps(tiny()), encoding="utf-8")
        pixels = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "interpolation": "bilinear"}
        full.write_text(json.dumps({"model_cfg": tiny(), "preprocess_cfg": pixels}))
        tower = OpenClipTower(str(bare), "random")
        torch.testing.assert_close(
            tower.mean.flatten(), torch.tensor(open_clip.OPENAI_DATASET_MEAN)
        )
        tower = OpenClipTower(str(full), "random")
        assert tower.mean.flatten().tolist() == [0.5] * 3
        assert tower.std.flatten().tolist() == [0.25] * 3
        assert tower.interpolation == "bilinear"

    def test_bad_configs_get_one_sentence(self, tmp_path):
        with pytest.raises(
            FileNotFoundError, match=r"JSON model config, found no file at .*no.json"
        ):
            OpenClipTower(str(tmp_path / "no.json"), "random")
        broken = tmp_path / "broken.json"
        broken.write_text("{", encoding="utf-8")
        with pytest.raises(ValueError, match=r"expected JSON in .*broken.json"):
            OpenClipTower(str(broken), "random")
        with pytest.raises(ValueError, match=r"got none of \['vision_cfg', 'text_cfg'\]"):
            OpenClipTower({"embed_dim": 3}, "random")
        with pytest.raises(ValueError, match=r"can build, got .*'patchsize'"):
            OpenClipTower(tiny(vision_patchsize=3), "random")
        with pytest.raises(ValueError, match="expected precision to be one of bf16, fp32"):
            OpenClipTower(tiny(), "random", precision="fp8")


class TestRandomWeights:
    def test_depend_on_the_seed_alone_and_leave_the_generator(self):
        torch.manual_seed(1)
        before = torch.get_rng_state()
        first = OpenClipTower(tiny(), "random", random_seed=3)
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(2)
        second = OpenClipTower(tiny(), "random", random_seed=3)
        third = OpenClipTower(tiny(), "random", random_seed=4)
        for one, two in zip(first.parameters(), second.parameters(), strict=True):
            assert torch.equal(one, two)
        assert not torch.equal(first.model.visual.proj, third.model.visual.proj)

    def test_are_not_aligned(self):
        assert not OpenClipTower(tiny(), "random").is_aligned

    def test_are_never_a_fallback(self):
        with pytest.raises(ValueError, match=r"name weights of ViT-B-16, got none.*laion400m_e32"):
            OpenClipTower("ViT-B-16")


class TestWeightFiles:
    @pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.bin", "w.safetensors"])
    def test_load_exactly_and_are_aligned(self, tmp_path, name):
        tower = OpenClipTower(tiny(), str(save_tiny(tmp_path / name)))
        reference = OpenClipTower(tiny(), "random", random_seed=7)
        for ours, expected in zip(tower.parameters(), reference.parameters(), strict=True):
            assert torch.equal(ours, expected)
        assert tower.is_aligned
        assert not any(parameter.requires_grad for parameter in tower.parameters())

    def test_training_checkpoints_are_unwrapped(self, tmp_path):
        state = OpenClipTower(tiny(), "random", random_seed=7).model.state_dict()
        wrapped = {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}
        torch.save(wrapped, tmp_path / "epoch_3.pt")
        tower = OpenClipTower(tiny(), str(tmp_path / "epoch_3.pt"))
        assert torch.equal(tower.model.visual.proj, state["visual.proj"])

    def test_plain_layout_fits_a_model_with_its_own_text_module(self, tmp_path):
        path = save_tiny(tmp_path / "w.pt")
        split = OpenClipTower(tiny(custom_text=True), str(path))
        plain = OpenClipTower(tiny(), str(path))
        torch.testing.assert_close(split.encode_text(TEXTS), plain.encode_text(TEXTS))

    def test_missing_file_is_named(self, tmp_path):
        with pytest.raises(
            FileNotFoundError, match=r"expected weights at .*gone.pt, found no file"
        ):
            OpenClipTower(tiny(), str(tmp_path / "gone.pt"))

    def test_weights_of_another_architecture_are_refused_by_name(self, tmp_path):
        deeper = save_tiny(tmp_path / "deeper.pt", tiny(vision_layers=5))
        with pytest.raises(ValueError, match=r"with the unknown 'visual.transformer.resblocks.4"):
            OpenClipTower(tiny(), str(deeper))
        flatter = save_tiny(tmp_path / "flatter.pt", tiny(text_layers=2))
        with pytest.raises(ValueError, match=r"without 'transformer.resblocks.2.*\(12 such\)"):
            OpenClipTower(tiny(), str(flatter))
        wider = save_tiny(tmp_path / "wider.pt", tiny(embed_dim=48))
        with pytest.raises(ValueError, match=r"size mismatch for text_projection.*check that"):
            OpenClipTower(tiny(), str(wider))

    def test_pickled_code_does_not_run(self, tmp_path):
        marker = tmp_path / "ran"

        class Trap:
            def __reduce__(self):
                return Path.touch, (marker,)

        for name, write in (("zip.pt", torch.save), ("plain.pt", None)):
            path = tmp_path / name
            if write:
                write({"visual.proj": Trap()}, path)
            else:
                path.write_bytes(pickle.dumps({"visual.proj": Trap()}, protocol=2))
            with pytest.raises(ValueError, match=r"one that could run code .*as .safetensors"):
                OpenClipTower(tiny(), str(path))
            assert not marker.exists()

    @pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
    @pytest.mark.parametrize("content", [b"", b"no weights at all", b"\x00" * 64])
    def test_damaged_files_are_refused(self, tmp_path, name, content):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"expected tensors only in .*{name}, got a damaged"):
            OpenClipTower(tiny(), str(tmp_path / name))

    def test_other_contents_are_refused(self, tmp_path):
        torch.save([1, 2], tmp_path / "list.pt")
        with pytest.raises(ValueError, match=r"expected named tensors in .*list.pt, got list"):
            OpenClipTower(tiny(), str(tmp_path / "list.pt"))

    @pytest.mark.filterwarnings("ignore:.*looks like a TorchScript archive")
    def test_torchscript_archives_are_refused_with_the_way_out(self, tmp_path):
        torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save(tmp_path / "jit.pt")
        with pytest.raises(ValueError, match=r"got a program; save torch.jit.load\(path\)"):
            OpenClipTower(tiny(), str(tmp_path / "jit.pt"))

    def test_ambiguous_pixel_statistics_ask_for_the_config(self, tmp_path):
        architecture = read_architecture("ViT-L-14")
        path = tmp_path / "w.pt"
        path.touch()
        with pytest.raises(ValueError, match="several among its published weights; pass the open"):
            find_weights(architecture, str(path))

    def test_pixel_statistics_of_a_file_are_those_of_the_architecture(self, tmp_path):
        path = tmp_path / "w.safetensors"
        path.touch()
        source = find_weights(read_architecture("ViT-B-16-SigLIP"), str(path))
        assert source.preprocess["mean"] == (0.5, 0.5, 0.5)
        source = find_weights(read_architecture("ViT-B-16"), str(path))
        assert source.preprocess["mean"] == open_clip.OPENAI_DATASET_MEAN


@pytest.fixture
def listed(monkeypatch, tmp_path):
    """A tiny architecture that open_clip lists, with an ``openai`` tag that is a local file."""
    path = save_tiny(tmp_path / "weights.pt")
    tag = {"file": str(path), "quick_gelu": True, "mean": (0.4,) * 3, "std": (0.2,) * 3}
    unreachable = {"url": "https://weights.invalid/w.pt", "hf_hub": ""}
    configs, known = open_clip.factory._MODEL_CONFIGS, open_clip.pretrained._PRETRAINED
    for name, quick in (("Tiny", False), ("Tiny-quickgelu", True)):
        monkeypatch.setitem(configs, name, tiny(quick_gelu=quick))
        monkeypatch.setitem(known, name, {"openai": tag, "laion": unreachable})
    return path


class TestTags:
    def test_tag_loads_with_its_own_pixel_statistics(self, listed):
        tower = OpenClipTower("Tiny-quickgelu", "openai")
        assert tower.is_aligned
        torch.testing.assert_close(tower.mean.flatten(), torch.full((3,), 0.4))
        torch.testing.assert_close(tower.std.flatten(), torch.full((3,), 0.2))
        expected = torch.load(listed)["visual.proj"]
        assert torch.equal(tower.model.visual.proj, expected)

    def test_unknown_tag_lists_the_known_ones(self, listed):
        with pytest.raises(ValueError, match=r"got 'laion5'; give a tag \(openai, laion\), a file"):
            OpenClipTower("Tiny", "laion5")

    def test_failed_download_says_what_to_do(self, listed, monkeypatch):
        def refuse(cfg):
            raise OSError("no route to host\nand a long tail")

        monkeypatch.setattr(open_clip, "download_pretrained", refuse)
        with pytest.raises(FileNotFoundError) as caught:
            OpenClipTower("Tiny", "laion")
        message = str(caught.value)
        assert "from https://weights.invalid/w.pt, got OSError: no route to host;" in message
        assert message.endswith("pass its path as pretrained")
        assert "\n" not in message


class TestQuickGelu:
    def test_openai_tag_insists_on_it_before_anything_is_built(self):
        with pytest.raises(
            ValueError,
            match="expected quick-GELU for weights 'openai', got ViT-B-16 with GELU; "
            "use model_name: ViT-B-16-quickgelu or force_quick_gelu: true",
        ):
            OpenClipTower("ViT-B-16", "openai")

    @pytest.mark.parametrize(
        ("name", "force"), [("Tiny-quickgelu", False), ("Tiny", True), ("Tiny-quickgelu", True)]
    )
    def test_both_ways_build_it_in_both_towers(self, listed, name, force):
        model = OpenClipTower(name, "openai", force_quick_gelu=force).model
        kinds = {type(m) for m in model.modules() if isinstance(m, (nn.GELU, QuickGELU))}
        assert kinds == {QuickGELU}

    def test_plain_weights_refuse_it(self, listed):
        with pytest.raises(ValueError, match="expected GELU for weights 'laion', got Tiny with"):
            OpenClipTower("Tiny", "laion", force_quick_gelu=True)

    def test_file_named_openai_insists_on_it(self, tmp_path):
        path = save_tiny(tmp_path / "ViT-B-16.OpenAI.safetensors")
        with pytest.raises(ValueError, match=r"expected quick-GELU .*; use force_quick_gelu: true"):
            OpenClipTower(tiny(), str(path))
        assert OpenClipTower(tiny(), str(path), force_quick_gelu=True).is_aligned

    def test_file_with_openais_extras_insists_on_it(self, tmp_path):
        extras = {"input_resolution": torch.tensor(32), "vocab_size": torch.tensor(49408)}
        path = save_tiny(tmp_path / "model.pt", **extras)
        with pytest.raises(ValueError, match=r"expected quick-GELU for weights .*model.pt"):
            OpenClipTower(tiny(), str(path))
        assert OpenClipTower(tiny(quick_gelu=True), str(path)).is_aligned


def listed_yamls():
    for path in sorted(CONFIGS.glob("open_clip_*.yaml")):
        arguments = yaml.safe_load(path.read_text(encoding="utf-8"))["model"]["tower"]["init_args"]
        if isinstance(arguments["model_name"], str):
            yield pytest.param(arguments, id=path.stem)


@pytest.mark.parametrize("arguments", listed_yamls())
def test_yaml_names_weights_and_layers_that_exist(arguments):
    architecture = read_architecture(arguments["model_name"], arguments["force_quick_gelu"])
    assert find_weights(architecture, arguments["pretrained"]).tag
    vision = architecture.config["vision_cfg"]
    assert max(arguments["layers"]) <= vision["layers"]
    assert (arguments["image_size"] or vision["image_size"]) % vision["patch_size"] == 0
