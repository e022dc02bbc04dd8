"""The trace of a network: what an array needs to know of it, without an array and without weights."""

import copy
from functools import cache

import pytest
import torch
from torch import nn

from voltaspin.core.errors import InputError
from voltaspin.core.ledger import Ledger
from voltaspin.diffusion.pipelines import load_pipeline, shipped_model
from voltaspin.memory import ArraySpec, NetworkTrace, convert, trace
from voltaspin.memory.crossbar.layer import MemoryLayer, context_of


class Toy(nn.Module):
    """Every kind of layer, one of them twice, attention, and a product of no layer."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(6, 2)  # defined first, called last
        self.plain = nn.Conv2d(3, 8, 3, padding=1)
        self.grouped = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=4)
        self.depthwise = nn.Conv2d(8, 16, 3, padding=1, groups=8)
        self.up = nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1, groups=2)
        self.line = nn.Conv1d(8, 6, 5, padding=2)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.twice = nn.Linear(6, 6)
        self.recurrent = nn.GRU(6, 5, batch_first=True)
        self.table = nn.Embedding(10, 6)
        self.unused = nn.Linear(4, 4)

    def forward(self, x, t=None):
        x = self.up(self.depthwise(self.grouped(self.plain(x))))
        x = self.line(x.flatten(2)).transpose(1, 2)
        x = x + self.attention(x, x, x)[0] + self.table(torch.zeros(1, dtype=torch.long, device=x.device))
        x = self.twice(self.twice(x)).tanh()
        return {"images": self.last(x), "memory": self.recurrent(x)[0]}


@cache
def toy():
    torch.manual_seed(0)
    return Toy().eval(), torch.randn(1, 3, 8, 8)


@cache
def shipped():
    return load_pipeline(shipped_model()).unet, None


MODELS = {"toy": toy, "shipped": shipped}
SPECS = {
    "analog": ArraySpec.preset("analog"),
    "digital": ArraySpec.preset("digital"),
    "chosen": ArraySpec(
        rows=64, columns=64, layers={"*in*": "digital", "*up*": {"weight_bits": 4}}, digital_ends=False
    ),
}


def traced(name):
    model, x = MODELS[name]()
    return model, x, trace(model) if x is None else trace(model, x)


@pytest.mark.parametrize("name", MODELS)
def test_positions_times_matrices_are_the_multiply_accumulates_of_a_conversion(name):
    model, x, found = traced(name)
    _, coverage = convert(model, SPECS["digital"], example=x)
    there = {w.name: w for w in coverage.layers}
    assert there.keys() == {w.name for w in found.layers}
    assert len(found.fitting) > 5
    for w in found.layers:
        assert w.macs == there[w.name].macs
        assert w.weights == there[w.name].weights
        if not w.reason:
            groups, outputs, inputs = w.shape
            assert w.positions * groups * outputs * inputs == w.macs
            assert groups * outputs * inputs == w.weights
    assert found.other == coverage.other
    assert found.macs == coverage.macs
    assert found.uncounted == ()
    assert found.counted == "from shapes alone; no weight was read"


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("name", MODELS)
def test_the_coverage_of_a_trace_is_that_of_a_conversion(name, spec):
    model, x, found = traced(name)
    _, coverage = convert(model, SPECS[spec], example=x)
    assert found.coverage(SPECS[spec]) == coverage


@pytest.mark.parametrize("spec", ["analog", "digital"])
@pytest.mark.parametrize("name", MODELS)
def test_an_array_counts_the_same_from_the_trace_as_in_a_converted_model(name, spec):
    model, x, found = traced(name)
    converted, _ = convert(model, SPECS[spec], example=x)
    with torch.no_grad():
        converted(x) if x is not None else converted(torch.zeros(1, 1, 28, 28), 1)
    inside = {m.name: m for m in converted.modules() if isinstance(m, MemoryLayer)}
    digital = found.digital(SPECS[spec])
    assert {w.name for w in found.layers} - digital.keys() == inside.keys()
    for w in found.layers:
        counts = dict(context_of(converted).ledger.child(w.name).totals())
        counts.pop("write", None)
        if w.name in inside:
            layer, expected = inside[w.name], Ledger("expected")
            slices = int(layer.cells.used.sum())
            layer.crossbar.readout.count(expected, w.shape, w.positions, slices)
            expected.count("byte", w.numbers_in * layer.spec.input_bits // 8 + 2 * w.numbers_out)
            assert counts == expected.totals()
        elif w.shape is not None and w.calls:
            assert counts == {"mac": w.macs, "byte": w.numbers_in + 2 * w.numbers_out}
    assert context_of(converted).ledger.child("attention and other products").total("mac") == found.other_macs


def test_layers_stand_in_the_order_of_execution_and_uses_add_up():
    _, _, found = traced("toy")
    by_name = {w.name: w for w in found.layers}
    attention = [f"attention.{n}" for n in ("q", "k", "v", "out")]
    assert [w.name for w in found.layers] == [
        "plain", "grouped", "depthwise", "up", "line", *attention, "table", "twice", "last", "recurrent", "unused"
    ]  # fmt: skip
    assert by_name["plain"].shape == (1, 8, 27)
    assert by_name["plain"].positions == 8 * 8
    assert by_name["grouped"].shape == (4, 2, 18)
    assert by_name["grouped"].positions == 4 * 4
    assert by_name["depthwise"].shape == (8, 2, 9)
    assert by_name["up"].shape == (2, 4 * 16, 8)  # taps of 4 channels for 8 inputs
    assert by_name["up"].positions == 4 * 4
    twice = by_name["twice"]
    assert (twice.calls, twice.positions, twice.numbers_in, twice.numbers_out) == (2, 2 * 64, 2 * 64 * 6, 2 * 64 * 6)
    assert by_name["recurrent"].reason == "GRU is not supported"
    assert by_name["recurrent"].shape is None
    assert by_name["recurrent"].macs == 64 * 3 * 5 * (6 + 5)
    assert by_name["unused"].reason == "the model does not call it on the example"
    assert by_name["table"].reason == "a table that is looked up"
    assert found.other_macs == 2 * 64 * 64 * 6


@pytest.mark.parametrize("images", [1, 3])
def test_a_linear_layer_meets_each_token_of_an_image_once(images):
    found = trace(nn.Linear(5, 7), torch.zeros(images, 11, 5))
    (layer,) = found.layers
    assert (layer.positions, layer.numbers_in, layer.numbers_out, layer.macs) == (11, 55, 77, 11 * 35)
    assert layer.shape == (1, 7, 5)


def test_images_without_an_axis_of_their_own_convolve():
    for layer, x in ((nn.Conv2d(1, 4, 3), torch.zeros(1, 9, 7)), (nn.ConvTranspose2d(1, 4, 3), torch.zeros(1, 7, 5))):
        (w,) = trace(layer, x).layers
        assert w.positions == 35
        assert w.macs == 35 * 36


def test_a_model_is_left_as_it_is_and_weights_are_not_needed():
    model, x = toy()
    before = copy.deepcopy(model.state_dict())
    model.train()
    full = trace(model, x)
    assert all(m.training for m in model.modules())
    assert not any(p.is_meta for p in model.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    model.eval()
    empty = copy.deepcopy(model).to("meta")
    assert trace(empty, x) == full
    assert trace(copy.deepcopy(model).half(), x.half()).layers == full.layers
    with torch.device("meta"):  # 4 TB of weights
        wide = trace(nn.Sequential(nn.Linear(10**6, 10**6), nn.ReLU()), torch.zeros(1, 10**6))
    assert wide.macs == 10**12


class Looks(nn.Module):
    """Looks at its numbers, which shapes alone do not have."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x):
        return self.norm(self.layer(x)) if float(x.sum()) == 8 else self.layer(self.layer(x))


def test_a_model_that_looks_at_its_numbers_runs_with_them():
    model = Looks().train()
    before = copy.deepcopy(model.state_dict())
    found = trace(model, torch.ones(2, 4))
    assert found.counted == "by running the model"
    assert found.macs == 16
    assert trace(model, torch.zeros(2, 4)).macs == 32
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))
    with pytest.raises(InputError, match="it has no weights, and without them only shapes are followed"):
        trace(Looks().to("meta"), torch.ones(2, 4))


class Doubling(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class Same(nn.Linear):
    def forward(self, x):
        return super().forward(x)


def test_a_layer_with_a_forward_of_its_own_fits_where_its_numbers_are_the_plain_ones():
    model = nn.Sequential(Same(4, 4), Doubling(4, 4))
    same, doubling = trace(model, torch.ones(1, 4)).layers
    assert same.reason == ""
    assert "its own forward differs" in doubling.reason
    assert doubling.shape == (1, 4, 4)
    assert {w.reason for w in trace(model.to("meta"), torch.ones(1, 4)).layers} == {
        "its class has a forward of its own, which only its weights can compare with the plain layer"
    }


def test_what_has_no_trace_is_refused_with_the_remedy():
    with pytest.raises(InputError, match=r"does not take the example: .*shapes cannot be multiplied"):
        trace(nn.Linear(4, 4), torch.ones(1, 3))
    for no_image in (lambda x: trace(nn.Linear(4, 4), x), lambda x: convert(nn.Linear(4, 4), ArraySpec(), example=x)):
        with pytest.raises(InputError, match=r"example of shape \(0, 4\) holds no image; give the input of one"):
            no_image(torch.ones(0, 4))
    with pytest.raises(InputError, match="call the lazy model once"):
        trace(nn.LazyLinear(4), torch.ones(1, 3))
    with pytest.raises(InputError, match="trace the float model"):
        trace(convert(nn.Linear(4, 4), ArraySpec())[0], torch.ones(1, 4))
    with pytest.raises(InputError, match="its 5 is no multiple of the 2 images of the example"):
        trace(Sums(), torch.ones(2, 5))
    model = nn.Linear(4, 4)
    model.lock = (i for i in range(3))
    with pytest.raises(InputError, match=r"cannot be copied .*generator"):
        trace(model, torch.ones(1, 4))


class Sums(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, x):
        return self.layer(x.sum(0)[:, None])


def test_a_trace_is_saved_and_shown(tmp_path):
    _, _, found = traced("toy")
    found.save(tmp_path / "trace.json")
    assert NetworkTrace.load(tmp_path / "trace.json") == found
    shown = dict(found.summary())
    assert shown["model"] == "Toy"
    assert shown["layer plain"] == f"Conv2d 1 x 8 x 27 at 64 positions, {64 * 8 * 27:,}"
    assert f"{found.macs:,}" in shown["multiply-accumulates"]


class Keeps(nn.Module):
    """Keeps tensors in a list and a buffer, and makes others without saying where."""

    def __init__(self):
        super().__init__()
        self.layer, self.kept = nn.Linear(4, 4), [torch.ones(4)]
        self.register_buffer("place", torch.arange(4.0))

    def forward(self, x):
        return self.layer(torch.zeros(x.shape) + self.kept[0] + torch.arange(4) + self.place)


class Leaves(nn.Module):
    """Takes its numbers out of torch."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(torch.from_numpy(x.numpy() * 2))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        self.b.weight, self.c = self.a.weight, self.a

    def forward(self, x):
        return self.c(self.b(self.a(x)))


UNUSUAL = {
    "kept tensors": (Keeps, (1, 4), True),
    "numpy": (Leaves, (1, 4), False),
    "tied": (Tied, (1, 4), True),
    "parametrised": (
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), nn.Linear(4, 4)), (1, 4), True
    ),
    "hooks": (lambda: nn.Sequential(nn.utils.spectral_norm(nn.Linear(4, 4)), nn.Linear(4, 4)), (1, 4), True),
    "three dimensions": (
        lambda: nn.Sequential(nn.Conv3d(1, 2, 3), nn.Flatten(), nn.Linear(2, 3)), (1, 1, 3, 3, 3), True
    ),
    "transformer": (
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2), (1, 5, 8), True
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_models_have_the_coverage_of_their_conversion(name):
    make, shape, by_shapes = UNUSUAL[name]
    model, x = make(), torch.ones(shape)
    found = trace(model, x)
    assert found.counted == ("from shapes alone; no weight was read" if by_shapes else "by running the model")
    assert found.coverage(ArraySpec()) == convert(model, ArraySpec(), example=x)[1]
