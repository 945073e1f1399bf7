"""WinCLIP as its specification reads: one window, one patch, one sentence at a time, in float64."""

from __future__ import annotations

import copy
import math

import torch
from torch.nn import functional

TEMPERATURE = 0.07
NORMAL = [
    "{}",
    "flawless {}",
    "perfect {}",
    "unblemished {}",
    "{} without flaw",
    "{} without defect",
    "{} without damage",
]
ANOMALOUS = ["damaged {}", "{} with flaw", "{} with defect", "{} with damage"]
KINDS = ["cropped", "close-up", "bright", "dark", "jpeg corrupted", "blurry"]


def prompts(name):
    """The normal and the anomalous sentences about an object."""
    templates = []
    for article in ("a", "the"):
        templates += [f"a {kind} photo of {article} {{}}." for kind in KINDS]
        templates.append(f"a photo of {article} {{}}.")
        templates += [f"a photo of {article} {size} {{}}." for size in ("small", "large")]
        for purpose in ("visual inspection", "anomaly detection"):
            templates.append(f"a photo of {article} {{}} for {purpose}.")
    return [
        [template.format(state.format(name)) for state in states for template in templates]
        for states in (NORMAL, ANOMALOUS)
    ]


class SlowWinCLIP:
    """Literal WinCLIP around the weights of an open_clip model.

    Args:
        tower: Its model, pixel statistics and tokenizer are used, none of its encoders.
        sides: Window sides in patches.
    """

    def __init__(self, tower, sides=(2, 3)):
        self.model = copy.deepcopy(tower.model).double()
        self.tokenizer = tower._tokenizer
        self.mean, self.std = tower.mean.double(), tower.std.double()
        self.sides = sides
        self.texts = {}

    def text(self, name):
        """Mean embedding of each side's sentences, of unit length: (2, D)."""
        if name not in self.texts:
            self.texts[name] = self._text(name)
        return self.texts[name]

    @torch.no_grad()
    def _text(self, name):
        sides = [self.tokenizer(sentences) for sentences in prompts(name)]
        means = [self.model.encode_text(ids).mean(0) for ids in sides]
        return torch.stack([mean / mean.norm() for mean in means])

    @torch.no_grad()
    def look(self, images):
        """Class token, windows by scale and place, and patches before the last block."""
        visual = self.model.visual
        pixels = (images.double() / 255 - self.mean) / self.std
        patches = visual.conv1(pixels)
        height, width = patches.shape[-2:]
        first = (visual.class_embedding + visual.positional_embedding[0]).expand(len(images), -1)
        cells = {
            (row, column): patches[:, :, row, column]
            + visual.positional_embedding[1 + row * width + column]
            for row in range(height)
            for column in range(width)
        }
        windows = {}
        for side in self.sides:
            for top in range(height - side + 1):
                for left in range(width - side + 1):
                    inside = [
                        cells[row, column]
                        for row in range(top, top + side)
                        for column in range(left, left + side)
                    ]
                    states = self._run(torch.stack([first, *inside], 1))[-1]
                    windows[side, top, left] = self._project(states)
        states = self._run(torch.stack([first, *cells.values()], 1))
        return self._project(states[-1]), windows, states[-2][:, 1:], (height, width)

    def _run(self, states):
        """States after each block."""
        found = [self.model.visual.ln_pre(states)]
        for block in self.model.visual.transformer.resblocks:
            found.append(block(found[-1]))
        return found

    def _project(self, states):
        visual = self.model.visual
        return functional.normalize(visual.ln_post(states[:, 0]) @ visual.proj, dim=-1)

    def zero_shot(self, looked, name):
        """Image scores and (B, h, w) maps."""
        text = self.text(name)
        pooled, windows, _, grid = looked
        scores = [probability(vector, text) for vector in pooled]
        maps = torch.zeros(len(pooled), *grid, dtype=torch.float64)
        for image, score in enumerate(scores):
            values = {place: probability(found[image], text) for place, found in windows.items()}
            for row, column in cells_of(grid):
                scales = [score, *self._covering(values, row, column)]
                maps[image, row, column] = harmonic(scales)
        return torch.tensor(scores), maps

    def few_shot(self, looked, references, name, combine):
        """Image scores and maps with a memory of reference images."""
        scores, maps = self.zero_shot(looked, name)
        _, windows, patches, grid = looked
        _, known_windows, known_patches, _ = references
        known = functional.normalize(known_patches.flatten(0, 1), dim=-1)
        largest = []
        for image in range(len(scores)):
            values = {}
            for (side, top, left), found in windows.items():
                memory = torch.cat([v for key, v in known_windows.items() if key[0] == side])
                values[side, top, left] = distance(found[image], memory)
            place = {}
            for row, column in cells_of(grid):
                token = patches[image, row * grid[1] + column]
                scales = self._covering(values, row, column)
                scales.append(distance(token / token.norm(), known))
                place[row, column] = sum(scales) / 3
                both = [maps[image, row, column].item(), place[row, column]]
                joint = harmonic(both) if combine == "harmonic" else sum(both) / 2
                maps[image, row, column] = joint
            largest.append(max(place.values()))
        return (scores + torch.tensor(largest)) / 2, maps

    def _covering(self, values, row, column):
        """Per scale the harmonic mean over the windows that cover a patch."""
        found = []
        for side in self.sides:
            covering = [
                value
                for (size, top, left), value in values.items()
                if size == side and top <= row < top + side and left <= column < left + side
            ]
            found.append(harmonic(covering))
        return found


def cells_of(grid):
    return [(row, column) for row in range(grid[0]) for column in range(grid[1])]


def harmonic(values):
    return len(values) / sum(1 / value for value in values)


def probability(vector, text):
    """Of the anomalous side, by the softmax of two cosines over the temperature."""
    normal, anomalous = (math.exp(float(vector @ side) / TEMPERATURE) for side in text)
    return anomalous / (normal + anomalous)


def distance(vector, memory):
    return float((1 - memory @ vector).min() / 2)
