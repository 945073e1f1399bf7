from __future__ import annotations

import pickle
import sys

import pytest
import torch
from onnx_file import save_model

from clad.face_encoders.onnx import OnnxFaceEncoder


@pytest.fixture
def colours():
    """Two faces of one colour each."""
    values = torch.tensor([[10, 20, 30], [200, 100, 0]], dtype=torch.uint8)
    return values[:, :, None, None].expand(-1, -1, 20, 16)


def test_without_onnxruntime_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    path = save_model(tmp_path / "m.onnx")
    with pytest.raises(ImportError, match=r"pip install 'clad-anomaly\[faces\]'"):
        OnnxFaceEncoder(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected weights of OnnxFaceEncoder at .*gone"):
        OnnxFaceEncoder(tmp_path / "gone.onnx")


class TestWithOnnxruntime:
    @pytest.fixture(autouse=True)
    def onnxruntime(self):
        pytest.importorskip("onnxruntime")

    @pytest.mark.parametrize("channels", ["rgb", "bgr"])
    def test_the_mean_colour_by_hand(self, tmp_path, colours, channels):
        path = save_model(tmp_path / "m.onnx")
        encoder = OnnxFaceEncoder(path, mean=(10, 0, 0), std=(1, 2, 10), channels=channels)
        assert encoder.image_size == (12, 10)
        assert encoder.embed_dim == 3
        expected = torch.tensor([[0.0, 10.0, 3.0], [190.0, 50.0, 0.0]])
        expected = expected if channels == "rgb" else expected.flip(1)
        torch.testing.assert_close(encoder(colours), expected, rtol=1e-5, atol=1e-4)

    def test_a_graph_for_one_face_at_a_time(self, tmp_path, colours):
        encoder = OnnxFaceEncoder(save_model(tmp_path / "m.onnx", (1, 3, 12, 10)))
        assert encoder(colours).shape == (2, 3)

    def test_a_graph_that_leaves_its_size_open_needs_one(self, tmp_path, colours):
        path = save_model(tmp_path / "m.onnx", ("n", 3, "h", "w"))
        assert OnnxFaceEncoder(path, image_size=(9, 7)).image_size == (9, 7)
        with pytest.raises(ValueError, match=r"takes \(h x w\), got none; a graph that leaves"):
            OnnxFaceEncoder(path)

    def test_another_size_than_the_graph_takes_is_refused(self, tmp_path):
        path = save_model(tmp_path / "m.onnx")
        with pytest.raises(ValueError, match=r"takes \(12 x 10\), got 9 x 7"):
            OnnxFaceEncoder(path, image_size=(9, 7))

    def test_rows_before_channels_are_refused(self, tmp_path):
        path = save_model(tmp_path / "m.onnx", ("n", 12, 10, 3))
        with pytest.raises(ValueError, match=r"one input \(batch, 3, height, width\) .* faces \["):
            OnnxFaceEncoder(path)

    def test_maps_instead_of_vectors_are_refused(self, tmp_path):
        path = save_model(tmp_path / "m.onnx", kinds=("GlobalAveragePool",))
        with pytest.raises(ValueError, match=r"one vector per face .* got shape \(1, 3, 1, 1\)"):
            OnnxFaceEncoder(path)

    def test_what_is_no_model_is_refused(self, tmp_path):
        path = tmp_path / "m.onnx"
        path.write_bytes(b"not a model")
        with pytest.raises(ValueError, match=r"expected an ONNX model at .* export the network"):
            OnnxFaceEncoder(path)

    def test_it_travels_to_another_process(self, tmp_path, colours):
        encoder = OnnxFaceEncoder(save_model(tmp_path / "m.onnx"))
        there = pickle.loads(pickle.dumps(encoder))
        assert torch.equal(there(colours), encoder(colours))

    def test_colours_and_content_of_the_file_are_in_the_fingerprint(self, tmp_path):
        first = OnnxFaceEncoder(save_model(tmp_path / "a.onnx"))
        moved = OnnxFaceEncoder(save_model(tmp_path / "b.onnx"))
        assert torch.equal(first.fingerprint, moved.fingerprint)
        others = [
            OnnxFaceEncoder(tmp_path / "a.onnx", channels="bgr"),
            OnnxFaceEncoder(tmp_path / "a.onnx", mean=(0, 0, 0)),
            OnnxFaceEncoder(save_model(tmp_path / "c.onnx", ("m", 3, 12, 10))),
        ]
        assert not any(torch.equal(first.fingerprint, other.fingerprint) for other in others)


def test_settings_are_checked(tmp_path):
    with pytest.raises(ValueError, match="expected channels to be one of bgr, rgb; got 'RGB'"):
        OnnxFaceEncoder(tmp_path / "m.onnx", channels="RGB")
    with pytest.raises(ValueError, match="expected std > 0 for each colour"):
        OnnxFaceEncoder(tmp_path / "m.onnx", std=(1, 0, 1))
