"""What several rooms of the metrics share."""

from __future__ import annotations

import numpy as np
from torch import Tensor


def array(values: Tensor | np.ndarray) -> np.ndarray:
    """The values as a NumPy array, from whatever device."""
    if isinstance(values, Tensor):
        return values.detach().cpu().numpy()
    return np.asarray(values)


def check_shapes(axes: str, **maps: Tensor | np.ndarray) -> None:
    """ValueError unless all maps have one shape, with such axes ("" for any)."""
    shapes = {name: tuple(m.shape) for name, m in maps.items()}
    one, *others = set(shapes.values())
    if others or axes and len(one) != axes.count(",") + 1:
        found = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"expected {' and '.join(maps)} of one shape {axes}, found {found}")
