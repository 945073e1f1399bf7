from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fakes import FakeFaceEncoder, FakeTower, fake_batch
from tiny_clip import tiny
from torch.nn import functional

from clad.prompts.base import PrototypeCache
from clad.prompts.face2text import TEMPLATES, Face2Text
from clad.prompts.pseudo_word import encode_with_word, place_word
from clad.towers.open_clip import OpenClipTower

BATCH = fake_batch()
WIDTH = 12
"""Of the fake tower's text."""


def attached(tower=None, **settings):
    torch.manual_seed(0)
    strategy = Face2Text(FakeFaceEncoder(), **settings)
    tower = tower or FakeTower()
    strategy.attach(tower)
    return strategy, tower


def embed(strategy, tower, batch=BATCH):
    return strategy(("bottle", "pcb1"), tower, batch).embeddings


def test_sentences_are_the_published_ones():
    assert TEMPLATES == {
        "T0": "A real photo of a person",
        "T1": "A fake photo of a person",
        "T2": "A real photo of a [FE] person",
        "T3": "A fake photo of a [FE] person",
    }
    assert Face2Text(FakeFaceEncoder()).sentences == (TEMPLATES["T0"], TEMPLATES["T3"])


@pytest.mark.parametrize(
    ("real", "fake", "follows"),
    [
        ("T0", "T1", (False, False)),
        ("T2", "T3", (True, True)),
        ("T2", "T1", (True, False)),
        ("T0", "T3", (False, True)),
    ],
)
def test_a_side_follows_the_face_where_its_sentence_holds_one(real, fake, follows):
    strategy, tower = attached(real=real, fake=fake)
    first = embed(strategy, tower)
    second = embed(strategy, tower, fake_batch(seed=9))
    assert strategy.per_image == any(follows)
    for side, moves in enumerate(follows):
        assert torch.equal(first[:, side], second[:, side]) != moves
        if strategy.per_image:
            assert torch.equal(first[0, side], first[1, side]) != moves


def test_the_word_is_the_mapped_embedding_of_the_images_own_face():
    """Word by word: the row of [FE] is swapped before positions, all else stays."""
    strategy, tower = attached()
    faces = FakeFaceEncoder()(BATCH.images)
    assert strategy.projection.shape == (WIDTH, 6)
    expected = []
    for face in faces:
        words = tower.embed_tokens(tower.tokenize(["a fake photo of a FE person"]))
        assert words.shape[1] == 7
        words[0, 5] = strategy.projection @ face
        expected.append(tower.encode_embeddings(words, torch.ones(1, 7, dtype=torch.long))[0])
    found = embed(strategy, tower)[:, 1]
    torch.testing.assert_close(found, functional.normalize(torch.stack(expected), dim=-1))


def test_direct_mapping_is_followed_by_zeros():
    strategy, tower = attached(mapping="direct")
    assert not dict(strategy.named_buffers(recurse=False))
    face = FakeFaceEncoder()(BATCH.images)
    ids, place = place_word(tower, "A fake photo of a [FE] person", "[FE]")
    words = torch.cat([face, torch.zeros(4, WIDTH - 6)], dim=1)
    expected = functional.normalize(encode_with_word(tower, ids, place, words), dim=-1)
    torch.testing.assert_close(embed(strategy, tower)[:, 1], expected)


def test_a_length_can_be_given_to_every_word():
    strategy, _ = attached(length=2.5)
    words = strategy._words(BATCH)
    torch.testing.assert_close(words.norm(dim=1), torch.full((4,), 2.5))
    plain, _ = attached()
    torch.testing.assert_close(
        functional.normalize(words, dim=1), functional.normalize(plain._words(BATCH), dim=1)
    )


def test_weights_of_the_random_map_are_normal_with_the_width_below():
    """Standard deviation 1/W, as in the published code."""
    tower = OpenClipTower(tiny(), "random")
    strategy, _ = attached(tower)
    strategy.encoder.embed_dim = 4000
    strategy.attach(tower)
    assert strategy.projection.shape == (64, 4000)
    assert strategy.projection.std().item() == pytest.approx(1 / 64, rel=0.01)
    assert abs(strategy.projection.mean().item()) < 1e-4
    assert not strategy.projection.requires_grad
    assert not list(p for p in strategy.parameters() if p.requires_grad)


# What is computed, and how often


class CountingTower(FakeTower):
    num_texts = 0

    def encode_embeddings(self, embeddings, ids, layer_hook=None):
        self.num_texts += len(embeddings)
        return super().encode_embeddings(embeddings, ids, layer_hook)


def test_what_has_no_face_is_encoded_once_and_the_rest_per_image():
    strategy, tower = attached(CountingTower())
    embed(strategy, tower)
    assert tower.num_texts == 1 + 4
    embed(strategy, tower)
    assert tower.num_texts == 1 + 8
    assert strategy.encoder.num_seen == 4


def test_nothing_is_kept_of_a_text_tower_that_learns():
    strategy, tower = attached(CountingTower())
    tower.words.requires_grad_(True)
    made = embed(strategy, tower)
    embed(strategy, tower)
    assert tower.num_texts == 2 * (1 + 4)
    made.sum().backward()
    assert tower.words.weight.grad is not None


def test_loaded_weights_are_felt_by_what_was_kept():
    strategy, tower = attached()
    before = embed(strategy, tower)[:, 0]
    with torch.no_grad():
        tower.words.weight += 0.1
    strategy.load_state_dict(strategy.state_dict())
    assert not torch.allclose(embed(strategy, tower)[:, 0], before)


def test_without_faces_it_belongs_to_classes_and_is_kept_by_the_task():
    strategy, tower = Face2Text(real="T0", fake="T1"), CountingTower()
    strategy.attach(tower)
    cache = PrototypeCache()
    for _ in range(2):
        made = cache.get(strategy, ("bottle", "pcb1"), tower, BATCH)
    assert made.class_names == ("bottle", "pcb1")
    assert not made.per_image
    assert torch.equal(made.embeddings[0], made.embeddings[1])
    assert tower.num_texts == 2


def test_many_images_are_encoded_some_at_a_time():
    strategy, tower = attached()
    many = fake_batch(("pcb1",) * 70, (0,) * 70)
    found = embed(strategy, tower, many)
    torch.testing.assert_close(
        found[64:],
        embed(
            strategy,
            tower,
            replace(many, images=many.images[64:], categories=("pcb1",) * 6, paths=("",) * 6),
        ),
    )


def test_embeddings_are_kept_in_a_folder(tmp_path):
    strategy, tower = attached(cache_dir=tmp_path)
    embed(strategy, tower)
    assert len(list(tmp_path.rglob("*.npy"))) == 4


# Checkpoints


def test_the_map_travels_and_the_encoder_leaves_its_fingerprint():
    strategy, tower = attached()
    state = strategy.state_dict()
    assert set(state) == {"projection", "encoder.fingerprint"}
    torch.manual_seed(1)
    other = Face2Text(FakeFaceEncoder())
    other.attach(tower)
    assert not torch.equal(embed(other, tower), embed(strategy, tower))
    other.load_state_dict(state)
    assert torch.equal(embed(other, tower), embed(strategy, tower))


def test_another_encoder_is_refused():
    state = attached()[0].state_dict()
    other = Face2Text(FakeFaceEncoder(gain=0.5))
    other.attach(FakeTower())
    with pytest.raises(ValueError, match="expected the face encoder that the checkpoint was"):
        other.load_state_dict(state)


# Towers


def test_position_of_the_face_and_end_of_the_text_in_clip():
    """[start, a, fake, photo, of, a, FE, person, end]: the end is read from ids, whatever FE is."""
    tower = OpenClipTower(tiny(), "random")
    ids, place = place_word(tower, TEMPLATES["T3"], "[FE]")
    assert (place, ids.shape[1], int(ids.argmax())) == (6, 9, 8)
    literal = tower.tokenize(["A fake photo of a FE person"])
    assert literal.shape == ids.shape
    assert (literal != ids).nonzero().tolist() == [[0, 6]]


def test_swapping_a_word_for_its_own_row_changes_nothing():
    tower = OpenClipTower(tiny(), "random")
    ids, place = place_word(tower, TEMPLATES["T3"], "[FE]")
    word = tower.embed_tokens(tower.tokenize(["A fake photo of a smiling person"]))[:, place]
    found = encode_with_word(tower, ids, place, word)
    expected = tower.encode_text(["A fake photo of a smiling person"])
    torch.testing.assert_close(found, expected)


# Refusals


def test_faces_need_an_encoder():
    with pytest.raises(ValueError, match=r"expected a face encoder for \[FE\] in .* T0 and T1"):
        Face2Text()


def test_sentences_must_differ_and_say_something():
    with pytest.raises(ValueError, match="expected two different sentences, got real='A real"):
        Face2Text(real="T0", fake="T0")
    with pytest.raises(ValueError, match="expected two different sentences"):
        Face2Text(real=" ", fake="T1")


def test_two_faces_in_one_sentence_are_refused():
    with pytest.raises(ValueError, match=r"expected \[FE\] once, got '\[FE\] is \[FE\]'"):
        attached(fake="[FE] is [FE]")


def test_a_face_inside_a_word_is_refused():
    class Pieces(FakeTower):
        def tokenize(self, texts):
            return super().tokenize([text.replace("z", "z z") for text in texts])

    with pytest.raises(ValueError, match=r"expected one token for \[FE\] in .* Pieces; put blanks"):
        attached(Pieces())


def test_features_without_pixels_are_refused():
    strategy, tower = attached()
    without = replace(BATCH, images=torch.zeros(4, 3, 0, 0, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"got features without pixels; leave model\.feature_cach"):
        embed(strategy, tower, without)
    with pytest.raises(ValueError, match="got no batch"):
        embed(strategy, tower, None)


def test_embeddings_wider_than_words_cannot_be_inserted():
    encoder = FakeFaceEncoder()
    encoder.embed_dim = 13
    with pytest.raises(ValueError, match="at most 12 numbers for mapping `direct`, got 13 from Fa"):
        Face2Text(encoder, mapping="direct").attach(FakeTower())


def test_settings_are_checked():
    with pytest.raises(ValueError, match="expected mapping to be one of direct, random_linear"):
        Face2Text(FakeFaceEncoder(), mapping="linear")
    with pytest.raises(ValueError, match="expected length in"):
        Face2Text(FakeFaceEncoder(), length=0)


@pytest.mark.weights
def test_it_speaks_through_minilm():
    from clad.towers.offline import OfflineTower

    tower = OfflineTower(image_size=64)
    strategy, _ = attached(tower, length=2.0)
    ids, place = place_word(tower, TEMPLATES["T3"], "[FE]")
    assert (ids.shape[1], place) == (9, 6)  # [CLS] a fake photo of a FE person [SEP]
    first, second = embed(strategy, tower), embed(strategy, tower, fake_batch(seed=9))
    assert torch.equal(first[:, 0], second[:, 0])
    assert (first[:, 1] * second[:, 1]).sum(-1).max() < 0.999
