"""Every tower that a YAML of configs/tower/ names keeps the promises of clad.towers.base."""

from __future__ import annotations

from pathlib import Path

import jsonargparse
import pytest
import torch
import yaml
from tiny_vit import write_vit

from clad.checks import expect_unit_norm
from clad.towers.base import Tower

FOLDER = Path(__file__).parents[2] / "configs" / "tower"
NEEDS_PACKAGES = {"hf_image_classifier", "offline", "simple_cnn"}
TINY = yaml.safe_load((FOLDER / "open_clip_tiny.yaml").read_text(encoding="utf-8"))
SMALL_PX = 64
TEXTS = ["a photo of a screw", "a close-up photo of a broken metal nut with a scratch"]


def config_params():
    for path in sorted(FOLDER.glob("*.yaml")):
        marks = [pytest.mark.weights] if path.stem in NEEDS_PACKAGES else []
        yield pytest.param(path, id=path.stem, marks=marks)


def build(path, folder):
    """The YAML's tower as the command line builds it; downloads become tiny random weights."""
    config = yaml.safe_load(path.read_text(encoding="utf-8"))["model"]["tower"]
    arguments = config.get("init_args", {})
    if "folder" in arguments:
        write_vit(folder)
        arguments["folder"] = str(folder)
    elif arguments.get("pretrained") == "download":
        arguments |= {"pretrained": "random", "image_size": SMALL_PX}
    elif arguments.get("pretrained", "random") != "random":
        arguments.update(TINY["model"]["tower"]["init_args"])
    parser = jsonargparse.ArgumentParser()
    parser.add_subclass_arguments(Tower, "tower")
    return parser.instantiate_classes(parser.parse_object({"tower": config})).tower


@pytest.fixture(scope="module", params=config_params())
def tower(request, tmp_path_factory):
    return build(request.param, tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, 3, 48, 60), dtype=torch.uint8, generator=generator)


@pytest.fixture(scope="module")
def features(tower, images):
    return tower.encode_image(images)


def text_tower(tower):
    if not tower.has_text:
        pytest.skip("an image-only tower has no text side")
    return tower


def test_every_weight_is_frozen_and_modes_do_not_change_that(tower):
    tower.train()
    assert not any(module.training for module in tower.modules())
    assert not any(parameter.requires_grad for parameter in tower.parameters())


def test_prepare_gives_normalised_pixels_of_the_towers_size(tower):
    uniform = torch.full((1, 3, 17, 23), 51, dtype=torch.uint8)
    pixels = tower.prepare(uniform)
    assert pixels.shape == (1, 3, *tower.image_size)
    expected = ((0.2 - tower.mean) / tower.std).expand_as(pixels)
    torch.testing.assert_close(pixels, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(tower.prepare(uniform.float() / 255), pixels)


def test_feature_shapes_agree_with_what_the_tower_announces(tower, features):
    assert len(features.tokens) == len(features.grids) == len(tower.token_dims) > 0
    for tokens, (height, width), dim in zip(
        features.tokens, features.grids, tower.token_dims, strict=True
    ):
        assert tokens.shape == (3, height * width, dim)
    assert features.summary.shape == (3, tower.summary_dim)
    assert (features.patches is None) == (features.pooled is None)


def test_shared_space_is_of_unit_norm_and_known_width(tower, features):
    if not features.is_aligned:
        assert not tower.is_aligned
        return
    assert features.pooled.shape == (3, tower.embed_dim)
    expect_unit_norm("pooled", features.pooled, 1e-5)
    if features.embedding is not None:
        unit = torch.nn.functional.normalize(features.embedding, dim=-1)
        torch.testing.assert_close(unit, features.pooled)
    for patches, tokens in zip(features.patches, features.tokens, strict=True):
        assert patches.shape == (*tokens.shape[:2], tower.embed_dim)
        expect_unit_norm("patches", patches, 1e-5)


def test_features_are_finite_float32_and_differ_between_images(features):
    tensors = [*features.tokens, *(features.patches or ()), features.summary]
    tensors += [features.pooled] if features.pooled is not None else []
    for tensor in tensors:
        assert tensor.dtype == torch.float32
        assert tensor.isfinite().all()
        assert not torch.allclose(tensor[0], tensor[1])


def test_image_features_do_not_depend_on_the_rest_of_the_batch(tower, images, features):
    alone = tower.encode_image(images[1:2])
    torch.testing.assert_close(alone.summary, features.summary[1:2], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(alone.tokens[0], features.tokens[0][1:2], atol=1e-4, rtol=1e-4)


def test_image_features_repeat_and_survive_inference_mode(tower, images, features):
    with torch.inference_mode():
        again = tower.encode_image(images)
    for first, second in zip(features.tokens, again.tokens, strict=True):
        torch.testing.assert_close(first, second)
    torch.testing.assert_close(features.summary, again.summary)


def test_pixels_can_learn_through_the_frozen_tower(tower, images):
    pixels = tower.prepare(images[:1]).requires_grad_()
    # A sum over channels is constant behind a layer norm, hence the square.
    tower.encode_pixels(pixels).summary.square().mean().backward()
    assert pixels.grad.abs().sum() > 0


def test_images_of_another_shape_are_refused(tower):
    with pytest.raises(ValueError, match="expected images of shape"):
        tower.encode_image(torch.zeros(3, 8, 8))


def test_text_embeddings_are_finite_differ_and_repeat(tower):
    embeddings = text_tower(tower).encode_text(TEXTS)
    assert embeddings.shape == (2, tower.embed_dim)
    assert embeddings.dtype == torch.float32
    assert embeddings.isfinite().all()
    assert not torch.allclose(embeddings[0], embeddings[1])
    torch.testing.assert_close(embeddings, tower.encode_text(TEXTS))


def test_a_text_does_not_feel_the_longer_text_beside_it(tower):
    together = text_tower(tower).encode_text(TEXTS)
    alone = torch.cat([tower.encode_text([text]) for text in TEXTS])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_encode_text_is_the_sum_of_its_steps(tower):
    ids = text_tower(tower).tokenize(TEXTS)
    assert ids.dtype == torch.int64
    embeddings = tower.embed_tokens(ids)
    assert embeddings.shape[:2] == ids.shape
    torch.testing.assert_close(tower.encode_embeddings(embeddings, ids), tower.encode_text(TEXTS))


def test_gradient_flows_into_token_embeddings(tower):
    ids = text_tower(tower).tokenize(TEXTS)
    embeddings = tower.embed_tokens(ids).detach().requires_grad_()
    tower.encode_embeddings(embeddings, ids).square().mean().backward()
    assert embeddings.grad.abs().sum() > 0


def test_empty_and_endless_texts_are_refused(tower):
    for texts in ([], [" "]):
        with pytest.raises(ValueError, match="expected non-empty texts"):
            text_tower(tower).encode_text(texts)
    with pytest.raises(ValueError, match=r"expected at most \d+ .*got \d+"):
        tower.encode_text(["scratch " * 600])


def test_weights_make_the_round_trip_through_a_state_dict(tower):
    state = tower.state_dict()
    assert tower.load_state_dict(state).missing_keys == []
    assert "mean" not in state
    assert "std" not in state
