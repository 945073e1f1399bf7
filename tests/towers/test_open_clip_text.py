from __future__ import annotations

import open_clip
import pytest
import torch
from tiny_clip import TEXTS, tiny

from clad.towers.open_clip import OpenClipTower


@pytest.fixture(scope="module")
def tower():
    return OpenClipTower(tiny(), "random", layers=(2, 4))


class TestText:
    def test_raw_embeddings_equal_open_clips_at_full_context(self, tower):
        expected = tower.model.encode_text(open_clip.tokenize(TEXTS))
        torch.testing.assert_close(tower.encode_text(TEXTS), expected, atol=1e-5, rtol=0.0)
        assert (expected.norm(dim=-1) - 1).abs().min() > 0.01, "raw embeddings have no unit norm"

    def test_ids_stop_at_the_longest_text(self, tower):
        ids = tower.tokenize(TEXTS)
        assert ids.shape == (2, 13)
        assert torch.equal(ids, open_clip.tokenize(TEXTS)[:, :13])
        assert ids[1, -1] == 49407, "end of text"

    @pytest.mark.parametrize(
        ("changes", "length"),
        [
            ({"text_pool_type": "last"}, 77),
            ({"text_no_causal_mask": True}, 77),
            ({"text_pool_type": "first"}, 77),
            ({"text_pool_type": "eos", "text_eos_id": 49407}, 13),
            ({"custom_text": True}, 13),
            ({"custom_text": True, "text_proj_bias": True}, 13),
            ({"custom_text": True, "text_proj_type": "none", "text_width": 32}, 13),
        ],
    )
    def test_truncation_happens_only_where_it_is_exact(self, changes, length):
        tower = OpenClipTower(tiny(**changes), "random")
        assert tower.tokenize(TEXTS).shape[1] == length
        expected = tower.model.encode_text(open_clip.tokenize(TEXTS))
        torch.testing.assert_close(tower.encode_text(TEXTS), expected, atol=1e-5, rtol=0.0)

    def test_text_of_just_the_context_passes_and_one_more_is_refused(self, tower):
        assert tower.tokenize(["nut " * 75]).shape == (1, 77)
        with pytest.raises(ValueError, match=r"at most 77 tokens, got 78 in 'nut nut"):
            tower.tokenize(["nut", "nut " * 76])

    def test_context_follows_the_config(self):
        tower = OpenClipTower(tiny(text_context_length=8), "random")
        assert tower.encode_text(["a b c d e f"]).shape == (1, 32)
        with pytest.raises(ValueError, match="at most 8 tokens, got 9"):
            tower.encode_text(["a b c d e f g"])

    def test_embeddings_longer_than_the_context_are_refused(self, tower):
        with pytest.raises(ValueError, match="at most 77 tokens, got 78"):
            tower.encode_embeddings(torch.zeros(1, 78, 64), torch.ones(1, 78, dtype=torch.long))
        with pytest.raises(ValueError, match="expected embeddings of shape"):
            tower.encode_embeddings(torch.zeros(1, 5, 64), torch.ones(1, 6, dtype=torch.long))

    def test_hook_sees_every_layer_and_its_tokens_learn(self, tower):
        ids = tower.tokenize(TEXTS)
        embeddings = tower.embed_tokens(ids)
        deep = torch.randn(3, 2, 64, requires_grad=True)
        seen = []

        def hook(layer, states):
            seen.append((layer, tuple(states.shape)))
            written = deep[layer].expand(states.shape[0], -1, -1)
            return torch.cat([states[:, :1], written, states[:, 3:]], dim=1)

        hooked = tower.encode_embeddings(embeddings, ids, hook)
        assert seen == [(layer, (2, 13, 64)) for layer in range(3)]
        assert not torch.allclose(hooked, tower.encode_text(TEXTS))
        hooked.square().mean().backward()
        assert (deep.grad.abs().sum(dim=(1, 2)) > 0).all()

    def test_hook_that_changes_nothing_changes_nothing(self, tower):
        ids = tower.tokenize(TEXTS)
        same = tower.encode_embeddings(tower.embed_tokens(ids), ids, lambda _, states: states)
        assert torch.equal(same, tower.encode_text(TEXTS))

    def test_logit_scale_is_the_exponential_of_the_models(self, tower):
        assert tower.logit_scale == pytest.approx(1 / 0.07)


class TestHuggingFaceText:
    @pytest.fixture
    def hf_tower(self, tmp_path):
        transformers = pytest.importorskip("transformers")
        sizes = {"hidden_size": 16, "intermediate_size": 16, "vocab_size": 8}
        counts = {"num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 12}
        transformers.BertConfig(**sizes, **counts).save_pretrained(tmp_path)
        words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "photo", "nut"]
        (tmp_path / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
        transformers.BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
        text = {
            "hf_model_name": str(tmp_path),
            "hf_tokenizer_name": str(tmp_path),
            "hf_proj_type": "linear",
            "context_length": 12,
        }
        return OpenClipTower({**tiny(), "text_cfg": text}, "random")

    def test_embeddings_equal_open_clips_at_full_context(self, hf_tower):
        texts = ["a photo", "a photo a nut"]
        ids = hf_tower.tokenize(texts)
        assert ids.shape == (2, 12)
        torch.testing.assert_close(hf_tower.encode_text(texts), hf_tower.model.encode_text(ids))

    def test_long_texts_and_hooks_are_refused(self, hf_tower):
        with pytest.raises(ValueError, match="at most 12 tokens, got 22"):
            hf_tower.encode_text(["nut " * 20])
        ids = hf_tower.tokenize(["a nut"])
        with pytest.raises(ValueError, match="no layer_hook for a Hugging Face"):
            hf_tower.encode_embeddings(hf_tower.embed_tokens(ids), ids, lambda _, s: s)
