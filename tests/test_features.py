from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.linalg import logm

from clad.features import (
    dense_tokens,
    enlarge,
    enlarge_mean,
    image_statistics,
    log_covariances,
    token_maps,
    top_mean,
)
from clad.types import ImageFeatures


def features_of(*maps):
    """Features whose layers are the given (B, C, h, w) maps."""
    tokens = tuple(each.flatten(2).transpose(1, 2) for each in maps)
    grids = tuple(tuple(each.shape[-2:]) for each in maps)
    return ImageFeatures(tokens, grids, summary=torch.zeros(len(maps[0]), 1))


def slow_average(image, side):
    """Mean over the part of the square around each position that lies inside."""
    height, width = image.shape
    reach = side // 2
    result = np.empty_like(image)
    for row in range(height):
        for column in range(width):
            rows = slice(max(0, row - reach), row + reach + 1)
            columns = slice(max(0, column - reach), column + reach + 1)
            result[row, column] = image[rows, columns].mean()
    return result


class TestTokenMaps:
    def test_tokens_lie_row_by_row(self):
        tokens = torch.arange(6.0).view(1, 6, 1)
        features = ImageFeatures((tokens,), ((2, 3),), torch.zeros(1, 1))
        assert token_maps(features)[0].tolist() == [[[[0, 1, 2], [3, 4, 5]]]]

    def test_layers_are_chosen_in_the_order_asked_for(self):
        fine, coarse = torch.rand(2, 3, 4, 4), torch.rand(2, 5, 2, 2)
        features = features_of(fine, coarse)
        assert [m.shape[1] for m in token_maps(features)] == [3, 5]
        assert torch.equal(token_maps(features, (1,))[0], coarse)
        assert [m.shape[1] for m in token_maps(features, (1, 0))] == [5, 3]

    @pytest.mark.parametrize("layer", [2, -1])
    def test_a_layer_that_is_not_there_is_refused(self, layer):
        features = features_of(torch.rand(1, 3, 4, 4), torch.rand(1, 5, 2, 2))
        with pytest.raises(ValueError, match=rf"expected layer to be one of 0, 1; got '{layer}'"):
            token_maps(features, (layer,))


class TestDenseTokens:
    @pytest.mark.parametrize("side", [1, 3, 5])
    def test_averages_equal_a_slow_loop_borders_included(self, side):
        maps = torch.rand(2, 3, 6, 7)
        found = dense_tokens([maps], side)
        for image in range(2):
            for channel in range(3):
                expected = slow_average(maps[image, channel].numpy(), side)
                np.testing.assert_allclose(found[image, channel], expected, atol=1e-6)

    def test_coarse_layers_are_enlarged_to_the_finest_and_stacked_behind_it(self):
        fine, coarse = torch.rand(1, 2, 4, 4), torch.rand(1, 3, 2, 2)
        found = dense_tokens([fine, coarse], neighbourhood=1)
        assert found.shape == (1, 5, 4, 4)
        assert torch.equal(found[:, :2], fine)
        # Bilinear between pixel centres: halfway positions lie at quarters, borders repeat.
        weights = np.array([[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
        expected = weights @ coarse[0].numpy() @ weights.T
        np.testing.assert_allclose(found[0, 2:], expected, atol=1e-6)

    def test_layers_keep_their_order_whichever_is_finest(self):
        coarse, fine = torch.rand(1, 3, 2, 2), torch.rand(1, 2, 4, 4)
        assert torch.equal(dense_tokens([coarse, fine], 1)[:, 3:], fine)

    def test_unit_tokens_have_norm_one_in_each_layer_before_they_are_enlarged(self):
        fine, coarse = torch.rand(1, 2, 4, 4), torch.rand(1, 3, 2, 2)
        found = dense_tokens([fine, coarse], neighbourhood=3, unit=True)
        torch.testing.assert_close(found[:, :2].norm(dim=1), torch.ones(1, 4, 4))
        averaged = np.stack([slow_average(each.numpy(), 3) for each in coarse[0]])
        unit = averaged / np.linalg.norm(averaged, axis=0)
        np.testing.assert_allclose(found[0, 2:, ::3, ::3], unit, atol=1e-6)

    @pytest.mark.parametrize("side", [1, 3, 5])
    def test_a_faded_border_averages_zeros_beyond_it(self, side):
        maps = torch.rand(2, 3, 6, 5)
        expected = torch.nn.functional.avg_pool2d(maps, side, 1, side // 2, count_include_pad=True)
        torch.testing.assert_close(dense_tokens([maps], side, fade_border=True), expected)

    def test_a_faded_border_shortens_unit_tokens_too(self):
        found = dense_tokens([torch.rand(1, 3, 4, 4)], 3, unit=True, fade_border=True)
        norms = torch.tensor([[4.0, 6, 6, 4], [6, 9, 9, 6], [6, 9, 9, 6], [4, 6, 6, 4]]) / 9
        torch.testing.assert_close(found.norm(dim=1)[0], norms)


class TestImageStatistics:
    def test_means_then_deviations_layer_by_layer(self):
        fine, coarse = torch.rand(2, 3, 4, 4), torch.rand(2, 5, 2, 2)
        found = image_statistics([fine, coarse]).numpy()
        for image in range(2):
            expected = np.concatenate(
                [
                    part
                    for maps in (fine, coarse)
                    for part in (
                        maps[image].numpy().mean((1, 2)),
                        maps[image].numpy().std((1, 2)),
                    )
                ]
            )
            np.testing.assert_allclose(found[image], expected, atol=1e-6)

    def test_a_single_position_has_no_deviation(self):
        found = image_statistics([torch.rand(1, 3, 1, 1)])
        assert found.isfinite().all()
        assert found[0, 3:].tolist() == [0, 0, 0]

    def test_cells_are_images_of_their_own(self):
        fine, coarse = torch.rand(2, 3, 8, 6), torch.rand(2, 5, 4, 2)
        found = image_statistics([fine, coarse], cells=2).numpy()
        expected = []
        for maps in (fine.numpy(), coarse.numpy()):
            height, width = (side // 2 for side in maps.shape[-2:])
            cells = [
                maps[:, :, top : top + height, left : left + width]
                for top in (0, height)
                for left in (0, width)
            ]
            for taken in (np.mean, np.std):
                each = np.stack([taken(cell, axis=(2, 3)) for cell in cells], axis=2)
                expected.append(each.reshape(2, -1))
        np.testing.assert_allclose(found, np.concatenate(expected, 1), atol=1e-6)

    def test_a_large_offset_does_not_eat_the_deviation(self):
        maps = 1e3 + torch.rand(1, 2, 16, 16)
        found = image_statistics([maps])[0, 2:]
        np.testing.assert_allclose(found, maps.double().std((2, 3), correction=0)[0], rtol=1e-3)

    def test_the_gradient_is_finite_where_nothing_deviates(self):
        maps = torch.ones(1, 2, 4, 4, requires_grad=True)
        image_statistics([maps], cells=2).sum().backward()
        assert maps.grad.isfinite().all()

    def test_half_precision_comes_out_in_single(self):
        assert image_statistics([torch.rand(1, 3, 2, 2).bfloat16()]).dtype == torch.float32


class TestEnlarge:
    @pytest.mark.parametrize("sigma", [0.3, 1.0, 2.5, 4.0])
    def test_blur_equals_scipys_gaussian_borders_included(self, sigma):
        maps = torch.rand(2, 24, 37)
        expected = ndimage.gaussian_filter(maps.double().numpy(), (0, sigma, sigma))
        np.testing.assert_allclose(enlarge(maps, (24, 37), sigma), expected, atol=1e-6)

    def test_without_blur_it_is_bilinear_between_pixel_centres(self):
        maps = torch.tensor([[[0.0, 1.0]]])
        assert enlarge(maps, (1, 4)).tolist() == [[[0, 0.25, 0.75, 1]]]

    @pytest.mark.parametrize("sigma", [0.0, 4.0, 30.0])
    def test_constant_maps_stay_as_they_are(self, sigma):
        found = enlarge(torch.full((1, 4, 4), -2.5), (16, 20), sigma)
        torch.testing.assert_close(found, torch.full((1, 16, 20), -2.5))

    def test_a_blur_wider_than_the_image_is_cut_at_its_side(self):
        found = enlarge(torch.rand(1, 3, 2), (3, 2), sigma_px=50)
        assert found.shape == (1, 3, 2)
        assert found.isfinite().all()

    def test_a_peak_stays_where_it_was(self):
        maps = torch.zeros(1, 8, 8)
        maps[0, 2, 5] = 1
        row, column = divmod(int(enlarge(maps, (64, 64), 4.0).argmax()), 64)
        assert (row // 8, column // 8) == (2, 5)


class TestTopMean:
    @pytest.mark.parametrize(
        ("share", "expected"), [(0.0, 12.0), (0.25, 11.0), (0.5, 9.5), (1.0, 6.5), (1 / 24, 12.0)]
    )
    def test_hand_computed_of_one_to_twelve(self, share, expected):
        shuffled = torch.randperm(12).float().view(1, 3, 4) + 1
        assert top_mean(shuffled, share).tolist() == [expected]

    def test_images_do_not_mix(self):
        maps = torch.stack([torch.zeros(2, 2), torch.ones(2, 2)])
        assert top_mean(maps, 0.5).tolist() == [0, 1]


class TestLogCovariances:
    def test_against_scipy_matrix_by_matrix(self):
        generator = torch.Generator().manual_seed(0)
        maps = [torch.randn(2, c, 6, 5, generator=generator) * 3 + 1 for c in (3, 4)]
        found = log_covariances(maps).double().numpy()
        assert found.shape == (2, 6 + 10)
        for row in range(2):
            start = 0
            for layer in maps:
                values = layer[row].flatten(1).double().numpy()
                covariance = np.cov(values, bias=True)
                size = len(covariance)
                ridge = 1e-3 * np.trace(covariance) / size
                expected = logm(covariance + ridge * np.eye(size))
                upper = [
                    expected[i, j] * (1 if i == j else np.sqrt(2))
                    for i in range(size)
                    for j in range(i, size)
                ]
                part = found[row, start : start + len(upper)]
                np.testing.assert_allclose(part, upper, atol=1e-5)
                np.testing.assert_allclose(np.linalg.norm(part), np.linalg.norm(expected), 1e-5)
                start += len(upper)

    def test_where_things_are_and_the_mean_do_not_count(self):
        maps = torch.randn(1, 4, 5, 7)
        moved = maps.flatten(2)[..., torch.randperm(35)].unflatten(2, (7, 5)) + 3.0
        torch.testing.assert_close(log_covariances([moved]), log_covariances([maps]))

    def test_flat_and_huge_images_stay_finite(self):
        assert log_covariances([torch.ones(1, 4, 3, 3), torch.zeros(1, 2, 1, 1)]).isfinite().all()
        assert log_covariances([1e6 * torch.randn(1, 3, 4, 4)]).isfinite().all()
        assert log_covariances([torch.randn(1, 3, 4, 4).bfloat16()]).dtype == torch.float32


class TestEnlargeMean:
    def layers(self):
        generator = torch.Generator().manual_seed(4)
        return [torch.randn(2, *grid, generator=generator) for grid in ((4, 5), (2, 3), (4, 5))]

    @pytest.mark.parametrize("sigma_px", [0.0, 1.5])
    def test_equals_the_mean_of_maps_enlarged_one_by_one(self, sigma_px):
        layers = self.layers()
        expected = sum(enlarge(layer, (16, 12), sigma_px) for layer in layers) / 3
        found = enlarge_mean(layers, (16, 12), sigma_px)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)

    def test_each_grid_is_enlarged_once(self, monkeypatch):
        sizes = []
        monkeypatch.setattr(
            "clad.features.enlarge",
            lambda maps, size, sigma_px: sizes.append(maps.shape) or maps.new_zeros(2, *size),
        )
        enlarge_mean(self.layers(), (16, 12))
        assert sizes == [(2, 4, 5), (2, 2, 3)]

    def test_layers_stay_as_they_are(self):
        layers = self.layers()
        copies = [layer.clone() for layer in layers]
        enlarge_mean(layers, (16, 12))
        assert all(map(torch.equal, layers, copies))
