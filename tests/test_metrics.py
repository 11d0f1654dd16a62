"""The rooms of the metrics and their names at the door."""

from __future__ import annotations

import types

import pytest

from utils import metrics

ROOMS = (metrics.boundary, metrics.boxes, metrics.cost, metrics.masks, metrics.mattes)


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.__name__)
def test_every_function_of_a_room_is_at_the_door(room: types.ModuleType) -> None:
    own = {name: value for name, value in vars(room).items() if not name.startswith("_")
           and getattr(value, "__module__", None) == room.__name__}
    assert own
    for name, value in own.items():
        assert getattr(metrics, name) is value
