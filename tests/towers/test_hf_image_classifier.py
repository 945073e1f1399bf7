"""A checkpoint's folder as a tower: features and logits of transformers, and what is refused."""

from __future__ import annotations

import json

import pytest
import torch
from tiny_vit import write_vit

from clad.heads.own_classifier import OwnClassifier
from clad.towers.hf_image_classifier import HfImageClassifierTower


@pytest.fixture
def images():
    return torch.randint(0, 256, (2, 3, 32, 32), generator=torch.Generator().manual_seed(0)).byte()


@pytest.mark.weights
@pytest.mark.parametrize(("labels", "fake"), [(("Realism", "Deepfake"), 1), (("Fake", "Real"), 0)])
def test_score_is_the_checkpoints_fake_logit_less_its_real_one(tmp_path, images, labels, fake):
    model = write_vit(tmp_path, labels)
    tower = HfImageClassifierTower(tmp_path)
    head = OwnClassifier()
    head.attach(tower, ("face",))
    pixels = (images / 255 - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)) / torch.tensor(
        [0.5, 0.6, 0.7]
    ).view(3, 1, 1)
    with torch.no_grad():
        logits = model(pixels).logits
    features = tower.encode_image(images)
    expected = logits[:, fake] - logits[:, 1 - fake]
    found = head(features, None, ("face",) * 2, (32, 32))
    torch.testing.assert_close(found.scores, expected, atol=1e-5, rtol=1e-4)
    assert found.maps is None
    torch.testing.assert_close(
        torch.sigmoid(found.scores), logits.softmax(1)[:, fake], atol=1e-5, rtol=1e-4
    )


@pytest.mark.weights
def test_tokens_are_the_outputs_of_the_blocks_without_the_class_token(tmp_path, images):
    write_vit(tmp_path)
    tower = HfImageClassifierTower(tmp_path, layers=(1, 3))
    seen = {}
    blocks = [block.module for block in tower.image_parts().blocks]
    assert len(blocks) == 3
    for place in (0, 2):
        blocks[place].register_forward_hook(
            lambda module, inputs, output, place=place: seen.__setitem__(
                place, output if isinstance(output, torch.Tensor) else output[0]
            )
        )
    features = tower.encode_image(images)
    assert features.grids == ((4, 4), (4, 4))
    for tokens, place in zip(features.tokens, (0, 2), strict=True):
        torch.testing.assert_close(tokens, seen[place][:, 1:])


@pytest.mark.weights
def test_files_that_do_not_fit_are_refused(tmp_path):
    write_vit(tmp_path)
    with pytest.raises(ValueError, match=r"expected layers between 1 and 3, ascending, got \(4,\)"):
        HfImageClassifierTower(tmp_path, (4,))
    for change in ({"do_center_crop": True}, {"resample": 0}, {"size": {"shortest_edge": 32}}):
        write_vit(tmp_path, **change)
        with pytest.raises(ValueError, match="expected size with height and width, resample 2"):
            HfImageClassifierTower(tmp_path)
    write_vit(tmp_path, size=64)
    with pytest.raises(ValueError, match=r"to resize to 32 as config.json says, got \(64, 64\)"):
        HfImageClassifierTower(tmp_path)


def test_a_folder_without_its_files_and_other_architectures_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected folder of the classifier .* got none"):
        HfImageClassifierTower()
    with pytest.raises(FileNotFoundError, match=r"expected config.json at .* fetch config.json, p"):
        HfImageClassifierTower(tmp_path)
    config = tmp_path / "config.json"
    config.write_text("{")
    with pytest.raises(ValueError, match="expected JSON in"):
        HfImageClassifierTower(tmp_path)
    config.write_text("[]")
    with pytest.raises(ValueError, match=r"expected a JSON object in .*got a list"):
        HfImageClassifierTower(tmp_path)
    config.write_text(json.dumps({"architectures": ["SiglipForImageClassification"]}))
    with pytest.raises(ValueError, match=r"got \['SiglipForImageClassification'\]; other arch"):
        HfImageClassifierTower(tmp_path)
