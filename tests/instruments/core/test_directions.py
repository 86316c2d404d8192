"""Directions survive being handed on, and what is none is refused."""

import json

import pytest
import torch

from ired.instruments.core.directions import Direction, direction_columns, overlap, pack_directions, unpack_directions


def direction(name, vector, source="concept"):
    return Direction(name, source, "fc2", 3, "large_norm", 0.9, "held-out AUROC", torch.tensor(vector))


def test_handed_on_whole_and_in_order():
    found = [direction("b", [3.0, 4.0]).unit(), direction("a", [0.0, 1.0])]
    tensors, meta = pack_directions(found)
    again = unpack_directions(tensors, json.loads(json.dumps(meta)))
    for old, new in zip(found, again, strict=True):
        torch.testing.assert_close(old.vector, new.vector)
        assert {**vars(old), "vector": 0} == {**vars(new), "vector": 0}
    assert found[0].vector.tolist() == pytest.approx([0.6, 0.8])
    columns = direction_columns(found)
    assert columns["name"] == ["b", "a"] and columns["evidence"] == [0.9, 0.9] and "vector" not in columns


def test_what_is_no_direction_is_refused():
    with pytest.raises(ValueError, match="'b' has length 0"):
        direction("b", [0.0, 0.0]).unit()
    with pytest.raises(ValueError, match="unknown source of directions 'guess'"):
        direction("b", [1.0], "guess")
    with pytest.raises(ValueError, match="two directions are called b"):
        pack_directions([direction("b", [1.0]), direction("b", [2.0])])


def test_overlap_is_the_absolute_cosine():
    rows = torch.tensor([[2.0, 0.0], [1.0, 1.0]])
    seen = overlap(rows, torch.tensor([[-1.0, 0.0]]))
    assert seen.flatten().tolist() == pytest.approx([1, 0.5**0.5])
