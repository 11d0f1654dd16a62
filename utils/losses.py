"""Losses that two or more papers share; a paper's own loss is written out in its chapter."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def balanced(logits: Tensor, truth: Tensor, reduction: str = "mean") -> Tensor:
    """Class-balanced cross-entropy of HED (Xie and Tu, ICCV 2015), also OSVOS' and DSS' kin.

    logits and truth: (N, ...), truth 0 or 1. In each image the positives weigh the share
    of negatives and the negatives the share of positives, so that both classes pull
    equally. reduction: "mean" over all pixels, or "sum" as in HED's release.
    """
    if logits.shape != truth.shape:
        raise ValueError(f"logits {tuple(logits.shape)} and truth {tuple(truth.shape)} "
                         "need one shape")
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction must be 'mean' or 'sum', not {reduction!r}")
    truth = truth.to(logits.dtype)
    negatives = 1 - truth.mean(tuple(range(1, truth.ndim)), keepdim=True)  # (N, 1, ...)
    weight = torch.where(truth > 0.5, negatives, 1 - negatives)
    loss = weight * F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return loss.sum() if reduction == "sum" else loss.mean()
