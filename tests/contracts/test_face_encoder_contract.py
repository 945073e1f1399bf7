"""Every encoder of configs/face_encoders keeps the contract, with random weights of its own."""

from __future__ import annotations

import copy
import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from fakes import FakeFaceEncoder
from jsonargparse import ArgumentParser
from onnx_file import save_model

from clad.face_encoders.base import FaceEncoder

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "face_encoders").glob("*.yaml"))


def encoder_of(path: Path) -> dict[str, Any]:
    """The class path and settings that a YAML gives an encoder."""
    content = yaml.safe_load(path.read_text())
    assert content["model"]["prompts"]["class_path"] == "clad.prompts.face2text.Face2Text"
    assert set(content["model"]["prompts"]["init_args"]) == {"encoder"}, "sets more than one part"
    return content["model"]["prompts"]["init_args"]["encoder"]


def make(path: Path, folder: Path, **changes: Any) -> FaceEncoder:
    """The encoder as the command line makes it, with weights that cost nothing."""
    settings = encoder_of(path)
    settings["init_args"] |= changes
    if "allow_random" in settings["init_args"]:
        settings["init_args"]["allow_random"] = True
    else:
        pytest.importorskip("onnxruntime")
        settings["init_args"]["weights"] = str(save_model(folder / "faces.onnx"))
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--encoder", type=FaceEncoder)
    return parser.instantiate_classes(parser.parse_object({"encoder": settings})).encoder


@pytest.fixture(scope="module", params=CONFIGS, ids=lambda path: path.stem)
def path(request) -> Path:
    return request.param


@pytest.fixture(scope="module")
def encoder(path, tmp_path_factory) -> FaceEncoder:
    return make(path, tmp_path_factory.mktemp("weights"))


def faces(count=3, size=(40, 30), seed=0) -> torch.Tensor:
    """Coarse pictures; noise is all alike to a network that looks at large areas."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 2, 2, generator=generator)
    return (255 * torch.nn.functional.interpolate(coarse, size)).to(torch.uint8)


def test_configs_are_found() -> None:
    assert len(CONFIGS) >= 3


def test_without_weights_it_is_refused(path):
    settings = encoder_of(path)
    assert settings["init_args"]["weights"] is None
    module, _, name = settings["class_path"].rpartition(".")
    kind = getattr(__import__(module, fromlist=[name]), name)
    with pytest.raises(ValueError, match=r"expected .* got none; give init_args\.weights"):
        kind()
    assert not settings["init_args"].get("allow_random"), "random faces only on demand"
    assert "allow_random" not in inspect.signature(kind).parameters or (
        inspect.signature(kind).parameters["allow_random"].default is False
    )


@pytest.mark.parametrize("size", [(40, 30), (30, 40), (1, 1), (200, 130)])
def test_crops_of_any_size_become_vectors(encoder, size):
    found = encoder(faces(2, size))
    assert found.shape == (2, encoder.embed_dim)
    assert found.dtype == torch.float32
    assert found.isfinite().all()
    assert not found.requires_grad


def test_a_face_is_encoded_alone_as_in_a_batch_and_differs_from_others(encoder):
    together = encoder(faces())
    torch.testing.assert_close(encoder(faces()[1:2]), together[1:2], rtol=1e-4, atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 1e-3 * together.abs().max()


def test_it_is_frozen_in_evaluation_mode_whatever_is_asked(encoder):
    encoder.train()
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_the_same_weights_every_time(path, encoder, tmp_path):
    torch.manual_seed(123)
    again = make(path, tmp_path)
    assert torch.equal(again.fingerprint, encoder.fingerprint)
    torch.testing.assert_close(again(faces()), encoder(faces()))


def test_only_the_fingerprint_is_in_checkpoints_and_it_is_checked(path, encoder, tmp_path):
    state = encoder.state_dict()
    assert list(state) == ["fingerprint"]
    copy.deepcopy(encoder).load_state_dict(state)  # strictly
    other = make(path, tmp_path, centre=0.5)
    with pytest.raises(ValueError, match="expected the face encoder that the checkpoint was"):
        other.load_state_dict(state)


def test_a_copy_says_the_same(encoder):
    torch.testing.assert_close(copy.deepcopy(encoder)(faces()), encoder(faces()))


def test_autocast_does_not_round(encoder):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = encoder(faces())
    torch.testing.assert_close(found, encoder(faces()), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 3, 8, 8), "expected uint8 face crops"),
        (torch.zeros(2, 3, 0, 8, dtype=torch.uint8), "of at least 1 x 1 pixels, got .* 0 x 8"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), r"expected face crops of shape .* 3"),
    ],
)
def test_what_is_no_crop_is_refused(encoder, images, message):
    with pytest.raises(ValueError, match=message):
        encoder(images)


def test_the_fake_keeps_the_contract_too():
    fake = FakeFaceEncoder()
    assert fake(faces()).shape == (3, 6)
    assert list(fake.state_dict()) == ["fingerprint"]
