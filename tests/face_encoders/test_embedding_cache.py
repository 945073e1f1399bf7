from __future__ import annotations

import pytest
import torch
from fakes import FakeFaceEncoder

from clad.face_encoders.embedding_cache import EmbeddingCache, pixel_digests


def faces(count=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 8, 4), generator=generator).to(torch.uint8)


def test_embeddings_are_the_encoders_and_each_face_is_encoded_once():
    encoder = FakeFaceEncoder()
    cache, images = EmbeddingCache(encoder), faces()
    expected = encoder(images)
    encoder.num_seen = 0
    assert torch.equal(cache(images), expected)
    assert torch.equal(cache(images.flip(0)), expected.flip(0))
    assert torch.equal(cache(images[[1, 1, 3]]), expected[[1, 1, 3]])
    assert encoder.num_seen == 4
    assert len(cache) == 4


def test_the_same_face_twice_in_a_batch_is_encoded_once():
    encoder = FakeFaceEncoder()
    EmbeddingCache(encoder)(faces(2)[[0, 1, 0, 0]])
    assert encoder.num_seen == 2


def test_one_changed_pixel_is_another_face_and_so_is_another_size():
    images = faces(1)
    changed = images.clone()
    changed[0, 2, 7, 3] ^= 1
    digests = {
        *pixel_digests(images),
        *pixel_digests(changed),
        *pixel_digests(images.reshape(1, 3, 4, 8)),
    }
    assert len(digests) == 3


def test_what_was_not_asked_for_the_longest_is_forgotten_first():
    encoder, images = FakeFaceEncoder(), faces(3)
    cache = EmbeddingCache(encoder, max_entries=2)
    cache(images[:2])
    cache(images[:1])
    cache(images[2:])  # the second one goes
    encoder.num_seen = 0
    cache(images[:1])
    assert encoder.num_seen == 0
    cache(images[1:2])
    assert encoder.num_seen == 1
    assert len(cache) == 2


def test_without_room_it_still_answers():
    encoder = FakeFaceEncoder()
    assert torch.equal(EmbeddingCache(encoder, max_entries=0)(faces()), encoder(faces()))


def test_a_folder_serves_the_next_run(tmp_path):
    first = FakeFaceEncoder()
    expected = EmbeddingCache(first, folder=tmp_path)(faces())
    encoder = FakeFaceEncoder()
    assert torch.equal(EmbeddingCache(encoder, 1, tmp_path)(faces()), expected)
    assert encoder.num_seen == 0
    assert len(list(tmp_path.rglob("*.npy"))) == 4
    assert not list(tmp_path.rglob("*.partial"))


def test_another_encoder_does_not_read_it(tmp_path):
    EmbeddingCache(FakeFaceEncoder(), folder=tmp_path)(faces())
    other = FakeFaceEncoder(gain=0.3)
    assert torch.equal(EmbeddingCache(other, folder=tmp_path)(faces()), other(faces()))


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_a_damaged_entry_is_made_again(tmp_path, content):
    expected = EmbeddingCache(FakeFaceEncoder(), folder=tmp_path)(faces(1))
    (path,) = tmp_path.rglob("*.npy")
    path.write_bytes(path.read_bytes()[:-4] if content is None else content)
    encoder = FakeFaceEncoder()
    assert torch.equal(EmbeddingCache(encoder, folder=tmp_path)(faces(1)), expected)
    assert encoder.num_seen == 1
    assert torch.equal(EmbeddingCache(FakeFaceEncoder(), folder=tmp_path)(faces(1)), expected)


def test_a_cache_filled_in_inference_mode_serves_training():
    cache = EmbeddingCache(FakeFaceEncoder())
    with torch.inference_mode():
        cache(faces())
    weights = torch.ones(6, requires_grad=True)
    (cache(faces()) * weights).sum().backward()
    assert weights.grad is not None
