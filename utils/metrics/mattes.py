"""The errors of alpha mattes."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from ._shared import array, check_shapes


def matting_errors(prediction: Tensor, alpha: Tensor, trimap: Tensor) -> dict[str, Tensor]:
    """Errors of mattes (N, 1, H, W) where the trimap is unknown (0.5), each (N,).

    "sad": sum of absolute differences / 1000; "mse": mean squared difference; "gradient":
    sum of squared differences of the gradient magnitudes (derivatives of a Gaussian of
    1.4 pixels) / 1000, after Rhemann et al. (CVPR 2009).

    Raises ValueError when shapes differ or the trimap holds anything but 0, 0.5 and 1.
    """
    check_shapes("(N, 1, H, W)", prediction=prediction, alpha=alpha, trimap=trimap)
    guess, true, band = (array(t)[:, 0].astype(float) for t in (prediction, alpha, trimap))
    if not np.isin(band, (0, 0.5, 1)).all():
        raise ValueError(f"expected a trimap of 0, 0.5 and 1, found {np.unique(band)[:9]}")
    band = band == 0.5
    slopes = [np.hypot(*(gaussian_filter(m, 1.4, order=order, axes=(1, 2))
                         for order in ((0, 1), (1, 0)))) for m in (guess, true)]
    error, edges = (guess - true) * band, (slopes[0] - slopes[1]) * band
    size = np.maximum(band.sum((1, 2)), 1)
    errors = {"sad": np.abs(error).sum((1, 2)) / 1000,
              "mse": (error**2).sum((1, 2)) / size,
              "gradient": (edges**2).sum((1, 2)) / 1000}
    return {name: torch.from_numpy(values) for name, values in errors.items()}
