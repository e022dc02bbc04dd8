"""Layers in arrays: every weight once, no two in one cell, and the times that follow."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from voltaspin.core.errors import InputError
from voltaspin.cost.mapping import map_network, pieces_of
from voltaspin.diffusion.pipelines import load_pipeline, shipped_model
from voltaspin.memory import ArraySpec, trace

SPEC = ArraySpec(rows=16, columns=24, weight_bits=3, TMR=1.0, digital_ends=False)  # four cells a weight: six outputs


def mapped(net, x, spec=SPEC, **more):
    return map_network(trace(net, x), spec, **({"input_time": lambda own, rows: 1e-9} | more))


class Net(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def cells_of(mapping):
    """How often each cell of each array is used."""
    used = {
        b.array: np.zeros((mapping.layers[b.layer].rows, mapping.layers[b.layer].columns), int) for b in mapping.blocks
    }
    for b in mapping.blocks:
        used[b.array][b.row : b.row + b.rows, b.column : b.column + b.columns] += 1
    return used


@pytest.mark.parametrize("pack", [True, False])
def test_every_weight_lies_in_one_cell_of_its_own(pack):
    net = Net(nn.Conv2d(2, 9, 3, padding=1), nn.Conv2d(9, 9, 3, padding=1, groups=9), nn.Conv2d(9, 5, 1))
    mapping = mapped(net, torch.zeros(1, 2, 4, 4), pack=pack)
    used = cells_of(mapping)
    assert all(u.max() == 1 for u in used.values())
    assert sum(u.sum() for u in used.values()) == mapping.cells == 4 * (18 * 9 + 81 + 45)
    assert len(used) == mapping.needed == mapping.arrays
    assert sum(w.arrays for w in mapping.layers) == pytest.approx(mapping.needed)
    assert mapping.utilisation == pytest.approx(mapping.cells / (mapping.needed * 16 * 24))


def test_a_depthwise_layer_packs_its_groups_and_takes_turns():
    net = Net(nn.Conv2d(12, 12, 3, padding=1, groups=12))
    x = torch.zeros(1, 12, 4, 4)
    packed, alone = mapped(net, x), mapped(net, x, pack=False)
    assert alone.needed == 12  # blocks of 9 x 4 cells
    assert packed.needed == 2  # one shelf of six in each array, since two shelves of nine rows exceed sixteen
    assert packed.layers[0].turns == 6
    assert packed.layers[0].seconds == pytest.approx(6 * 16e-9)
    assert alone.layers[0].seconds == pytest.approx(16e-9)


def test_large_layers_are_cut_into_arrays():
    mapping = mapped(Net(nn.Linear(40, 13)), torch.zeros(1, 40))
    assert sorted((b.rows, b.columns) for b in mapping.blocks) == sorted(
        itertools.chain.from_iterable([[(16, 24)] * 4, [(8, 24)] * 2, [(16, 4)] * 2, [(8, 4)]])
    )
    assert mapping.needed == 4 + 1 + 1  # whole blocks alone, the two half ones together, the narrow ones on a shelf
    assert pieces_of((1, 13, 40), SPEC) == [(16, 24), (16, 24), (8, 24)] * 2 + [(16, 4), (16, 4), (8, 4)]


def test_copies_go_where_they_save_most():
    net = Net(nn.Conv2d(1, 2, 3, padding=1), nn.Flatten(), nn.Linear(2 * 8 * 8, 6))
    x = torch.zeros(1, 1, 8, 8)
    once = mapped(net, x)
    more = mapped(net, x, arrays=once.needed + 3)
    conv, linear = more.layers
    assert (conv.copies, linear.copies) == (4, 1)  # 64 positions against one
    assert conv.seconds == pytest.approx(once.layers[0].seconds / 4)
    assert more.arrays == once.needed + 3
    assert more.busiest < once.busiest


def test_too_few_arrays_reload_everything():
    net = Net(nn.Linear(40, 13))
    few = mapped(net, torch.zeros(1, 40), arrays=2)
    assert (few.arrays, few.reloaded) == (2, few.cells)
    for wrong in (0, -3):
        with pytest.raises(InputError, match=f"arrays = {wrong}"):
            mapped(net, torch.zeros(1, 40), arrays=wrong)


def test_a_design_that_wastes_its_area_says_so():
    wasteful = mapped(Net(nn.Linear(4, 4)), torch.zeros(1, 4), spec=ArraySpec(digital_ends=False))
    assert any("only" in text and "smaller arrays than 256 x 256" in text for text in wasteful.warnings)
    assert "warning" in dict(wasteful.summary())


def test_layers_may_have_arrays_of_another_kind():
    spec = SPEC.model_copy(update={"layers": {"layers.1": {"rows": 8, "columns": 12}}})
    mapping = mapped(Net(nn.Linear(8, 3), nn.Linear(3, 3)), torch.zeros(1, 8), spec=spec)
    assert [(w.rows, w.columns) for w in mapping.layers] == [(16, 24), (8, 12)]
    assert mapping.needed == 2


def test_the_shipped_network():
    mapping = map_network(
        trace(load_pipeline(shipped_model()).unet), ArraySpec.preset("analog"), input_time=lambda own, rows: 1e-7
    )
    assert all(u.max() == 1 for u in cells_of(mapping).values())
    assert not mapping.warnings
    unpacked = map_network(
        trace(load_pipeline(shipped_model()).unet), ArraySpec.preset("analog"), input_time=lambda own, rows: 1e-7,
        pack=False,
    )  # fmt: skip
    assert mapping.needed < unpacked.needed


def test_nothing_in_memory_is_refused():
    with pytest.raises(InputError, match="no layer of Net goes into memory"):
        mapped(Net(nn.Conv3d(1, 2, 3)), torch.zeros(1, 1, 4, 4, 4))
