"""RepDFD's Face2Text: a prompt in which the face at hand is a word.

Letters in shapes: B images, F width of face embeddings, W width of the text tower, D the shared
embedding, K class names.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from clad.checks import expect_choice, expect_range
from clad.face_encoders.base import FaceEncoder
from clad.face_encoders.embedding_cache import EmbeddingCache
from clad.precision import full_precision
from clad.prompts.base import PromptStrategy, encode_texts, expect_class_names
from clad.prompts.pseudo_word import encode_with_word, place_word
from clad.towers.base import Tower
from clad.types import Batch, ImageFeatures, TextPrototypes

SLOT = "[FE]"
TEMPLATES = {
    "T0": "A real photo of a person",
    "T1": "A fake photo of a person",
    "T2": "A real photo of a [FE] person",
    "T3": "A fake photo of a [FE] person",
}
"""The four sentences of RepDFD, by their names in its Table 5."""


class Face2Text(PromptStrategy):
    """One sentence about real and one about fake faces; ``[FE]`` is the face of the image itself.

    The token at ``[FE]`` gives way to f_map(E_F(image)): the embedding of the image's own pixels by
    a frozen face encoder, taken to the width of the text tower. A sentence with ``[FE]`` is encoded
    once per image; one without is encoded once. Nothing learns here. Class names are not spoken of.

    The random linear map is drawn once, from N(0, 1/W^2), and travels in checkpoints; of the
    encoder only a fingerprint does.

    Source: RepDFD (Lin et al., AAAI 2025, arXiv:2409.02664), Face2Text prompts and Table 5; its
    code draws weights of standard deviation 1/W, inserts before positions are added, and leaves
    face embeddings at the length they have.

    Args:
        encoder: E_F; may be None where no sentence holds ``[FE]``.
        real: ``T0`` to ``T3``, or a sentence of your own, with or without ``[FE]``.
        fake: Likewise; another sentence.
        mapping: f_map: ``random_linear`` is frozen and has no bias; ``direct`` inserts the
            embedding itself, followed by zeros up to W.
        length: Euclidean length that each face's word is brought to, > 0; None leaves the one it
            has, as RepDFD does. An encoder whose embeddings are short (MobileFaceNet's are about
            3.5) may hardly be heard among words without it.
        cache_entries: Most face embeddings that are kept in memory, by the pixels they belong to.
        cache_dir: Folder that keeps them between runs; None keeps none.
    """

    projection: Tensor

    def __init__(
        self,
        encoder: FaceEncoder | None = None,
        real: str = "T0",
        fake: str = "T3",
        mapping: Literal["random_linear", "direct"] = "random_linear",
        length: float | None = None,
        cache_entries: int = 65_536,
        cache_dir: Path | None = None,
    ) -> None:
        super().__init__()
        expect_choice("mapping", mapping, ("random_linear", "direct"))
        self.sentences = (TEMPLATES.get(real, real), TEMPLATES.get(fake, fake))
        self.per_image = any(SLOT in sentence for sentence in self.sentences)
        self.mapping = mapping
        if length is not None:
            expect_range("length", length, 1e-6, 1e6)
        self.length = length
        self._expect_sentences(encoder)
        self.encoder = encoder
        self._embed = None
        if encoder is not None:
            self._embed = EmbeddingCache(encoder, cache_entries, cache_dir)
        self._fixed: dict[str, Tensor] = {}
        self._fixed_by: tuple[Tower, torch.device] | None = None
        self.register_load_state_dict_post_hook(_forget)

    def _expect_sentences(self, encoder: FaceEncoder | None) -> None:
        real, fake = self.sentences
        if not real.strip() or not fake.strip() or real == fake:
            raise ValueError(
                f"expected two different sentences, got real={real!r} and fake={fake!r}; choose "
                f"among {', '.join(TEMPLATES)}, or write your own"
            )
        if self.per_image and encoder is None:
            raise ValueError(
                f"expected a face encoder for {SLOT} in {self.sentences}, got none; name one "
                "(configs/face_encoders/), or take T0 and T1"
            )

    def attach(self, tower: Tower) -> None:
        """Find the place of the face in each sentence, and draw the map.

        Raises:
            ValueError: If the tower's tokenizer has no room for a face, or its width has none.
        """
        self._fixed, self._fixed_by = {}, None
        self._places = {
            sentence: place_word(tower, sentence, SLOT)
            for sentence in self.sentences
            if SLOT in sentence
        }
        if not self.per_image:
            return
        assert self.encoder is not None
        width = tower.embed_tokens(tower.tokenize(["a"])).shape[-1]
        if self.mapping == "random_linear":
            weights = torch.randn(width, self.encoder.embed_dim) / width
            self.register_buffer("projection", weights)
        elif self.encoder.embed_dim > width:
            raise ValueError(
                f"expected face embeddings of at most {width} numbers for mapping `direct`, got "
                f"{self.encoder.embed_dim} from {type(self.encoder).__name__}; use random_linear"
            )
        self._width = width

    def forward(
        self,
        class_names: Sequence[str],
        tower: Tower,
        batch: Batch | None = None,
        features: ImageFeatures | None = None,
    ) -> TextPrototypes:
        """(B, 2, D) prototypes, one pair per image; (K, 2, D) where no sentence holds ``[FE]``.

        Raises:
            ValueError: If a sentence needs faces and there are no pixels.
        """
        names = expect_class_names(class_names)
        words, count = None, len(names)
        if self.per_image:
            words = self._words(batch)
            assert batch is not None
            names, count = batch.categories, len(batch)
        sides = [
            self._fixed_text(sentence, tower).expand(count, -1)
            if words is None or SLOT not in sentence
            else self._spoken(sentence, tower, words)
            for sentence in self.sentences
        ]
        unit_B2D = functional.normalize(torch.stack(sides, dim=1), dim=-1)
        return TextPrototypes(names, unit_B2D, per_image=self.per_image)

    def _words(self, batch: Batch | None) -> Tensor:
        """(B, W) pseudo-words of the faces, f_map(E_F(image))."""
        if batch is None or not batch.images.numel():
            what = "no batch" if batch is None else "features without pixels"
            raise ValueError(
                f"expected pixels of the faces for {SLOT}, got {what}; leave model.feature_cache "
                "out, or take sentences without it (T0 and T1)"
            )
        assert self._embed is not None
        embeddings_BF = self._embed(batch.images)
        if self.mapping == "direct":
            words_BW = functional.pad(embeddings_BF, (0, self._width - embeddings_BF.shape[1]))
        else:
            with full_precision(embeddings_BF.device):
                words_BW = embeddings_BF @ self.projection.T
        if self.length is None:
            return words_BW
        return self.length * functional.normalize(words_BW, dim=-1)

    def _spoken(self, sentence: str, tower: Tower, words: Tensor) -> Tensor:
        ids, position = self._places[sentence]
        return encode_with_word(tower, ids.to(tower.mean.device), position, words).float()

    def _fixed_text(self, sentence: str, tower: Tower) -> Tensor:
        """(1, D) embedding of a sentence without a face, kept while the text tower rests."""
        if any(weight.requires_grad for weight in tower.text_parameters()):
            return encode_texts(tower, [sentence]).float()
        device = tower.mean.device
        if self._fixed_by != (tower, device):
            self._fixed, self._fixed_by = {}, (tower, device)
        if sentence not in self._fixed:
            with torch.inference_mode(False), torch.no_grad(), full_precision(device):
                self._fixed[sentence] = encode_texts(tower, [sentence]).float()
        return self._fixed[sentence]


def _forget(module: torch.nn.Module, keys: object) -> None:
    """Encode fixed sentences anew after weights were loaded, perhaps the text tower's, too."""
    del keys
    assert isinstance(module, Face2Text)
    module._fixed = {}
