"""Brains of patients in four modalities: BraTS 2020.

Written after the published layout and tested on files made in that form: no piece of the
set was at hand, so that it has never read a real one.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..brains import NAMES, OUTSIDE, Brains
from ..photos import whole
from .base import Folder, absent, corrupt, read, root

KINDS = ("t1", "t1ce", "t2", "flair")  # in the order of brains.MODALITIES
LEVELS = (0.4, 0.5, 0.6)  # of the volume's height: the slices that are read
FIELD = 192  # millimetres, as wide as the generated brains; voxels are 1 mm


def brats2020(split: str = "train", folder: Folder = None, limit: int | None = None, *,
              size: int = 96) -> Brains:
    """Three axial slices, at fixed heights, of each of the first `limit` patients.

    The published training cases by number: every fifth is "test", the others "train".
    One label holds both what is dead and what is solid without taking up the agent: it
    is class 1 here, and class 3 stays empty.
    """
    place = root("brats2020", folder, split, limit)
    whole("size", size, 16)
    cases = sorted(file for file in place.glob("BraTS20_Training_*") if file.is_dir())
    chosen = [c for n, c in enumerate(cases) if (n % 5 == 4) == (split == "test")]
    if not chosen:
        raise absent("brats2020", place, f"a case of {split!r}, which has every fifth, "
                     f"among {len(cases)} folders BraTS20_Training_*,")
    parts = zip(*(_slices(case, size) for case in chosen[:limit]))
    names = (NAMES[0], "necrosis or not enhancing", *NAMES[2:])
    return Brains(*map(torch.cat, parts), names)


def _slices(case: Path, size: int) -> tuple[Tensor, ...]:
    """Images (3, 4, S, S), classes and inside (3, S, S) and heights (3,) of a patient."""
    files = [case / f"{case.name}_{kind}.nii.gz" for kind in (*KINDS, "seg")]
    volumes = [read("brats2020", file, "a NIfTI volume", _volume) for file in files]
    for file, volume in zip(files, volumes):
        if volume.shape != volumes[0].shape or volume.ndim != 3:
            raise corrupt("brats2020", file, "three axes, as long as in the t1 file",
                          f"{volume.shape}, not {volumes[0].shape}")
    if not set(np.unique(volumes[-1])) <= {0, 1, 2, 4}:
        raise corrupt("brats2020", files[-1], "labels 0, 1, 2 and 4", "other values")
    depth = volumes[0].shape[-1]
    height = [round(level * (depth - 1)) for level in LEVELS]
    planes = torch.from_numpy(np.stack(volumes)[..., height]).float()  # (5, X, Y, 3)
    planes = planes.permute(3, 0, 2, 1).flip(2)  # (3, 5, Y, X), the nose at the top
    around = (planes[:, :4] != 0).any(0).any(0)  # where there is brain in any slice
    if not around.any():
        raise corrupt("brats2020", files[0], "a brain at half the height", "zeros only")
    low, high = around.nonzero().amin(0), around.nonzero().amax(0)
    top, left = ((low + high + 1) // 2).tolist()  # of the window, in what is padded
    window = F.pad(planes, [FIELD // 2] * 4)[..., top:top + FIELD, left:left + FIELD]
    classes = F.interpolate(window[:, 4:], (size, size), mode="nearest-exact")[:, 0].long()
    filled = (window[:, :4] != 0).any(1, keepdim=True).float()
    share = F.adaptive_avg_pool2d(filled, size)  # (3, 1, S, S)
    image = F.adaptive_avg_pool2d(window[:, :4], size) / share.clamp_min(1e-6)
    inside = share[:, 0] > 0.5
    image = torch.stack([torch.stack([_standard(plane, mask) for plane in planes])
                         for planes, mask in zip(image, inside)])
    return image, classes * inside, inside, torch.tensor(height)


def _standard(plane: Tensor, inside: Tensor) -> Tensor:
    """Extremes cut, mean 0 and deviation 1 inside, OUTSIDE elsewhere: (S, S)."""
    values = plane[inside].numpy()
    if not values.size:
        return torch.where(inside, 0.0, OUTSIDE)
    plane = plane.clip(*np.percentile(values, (1, 99.7)))
    spread, mean = torch.std_mean(plane[inside], unbiased=False)
    return torch.where(inside, (plane - mean) / spread.clamp_min(1e-6), OUTSIDE)


def _volume(file: Path) -> np.ndarray:
    """A volume (X, Y, Z) with axes to the right, to the front and up."""
    import nibabel  # seconds to import, and only this set needs it

    return np.asanyarray(nibabel.as_closest_canonical(nibabel.load(file)).dataobj)
