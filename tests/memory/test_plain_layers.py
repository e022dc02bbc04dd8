"""Layers that are the plain ones go into memory; every other one stays digital, listed with the reason."""

import copy
import warnings
from collections import OrderedDict

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from voltaspin.core.errors import InputError
from voltaspin.memory import ArraySpec, MemoryLayer, convert
from voltaspin.memory.crossbar.plain import tensors_in

D = ArraySpec(mode="digital", weight_bits=14, input_bits=14, digital_ends=False)


class Named(nn.Linear):
    """A subclass that changes nothing."""


class Written(nn.Linear):
    """A forward of its own that is the plain one."""

    def forward(self, x):
        return x @ self.weight.T + self.bias


class Standardised(nn.Conv2d):
    """Weight standardisation."""

    def forward(self, x):
        w = self.weight
        w = (w - w.mean((1, 2, 3), keepdim=True)) / w.std((1, 2, 3), keepdim=True)
        return F.conv2d(x, w, self.bias, self.stride, self.padding)


class Normalised(nn.Linear):
    """Plain only as long as its weights are normalised, as they are at first."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.weight.data /= self.weight.data.norm()

    def forward(self, x):
        return F.linear(x, self.weight / self.weight.norm(), self.bias)


class Noisy(nn.Linear):
    """Plain in evaluation only."""

    def forward(self, x):
        return F.linear(F.dropout(x, 0.5, self.training), self.weight, self.bias)


class Gained(nn.Linear):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return super().forward(x) * self.gain


class Through(nn.Module):
    """Calls a layer by a list of its own, which no replacement reaches."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 6), nn.Linear(6, 8)
        self.hidden = [self.a]

    def forward(self, x):
        return self.b(self.hidden[0](x))


class Functional(nn.Module):
    """Uses the weights of a layer that it never calls."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 6), nn.Linear(6, 8)

    def forward(self, x):
        return {"hidden": (h := F.linear(x, self.a.weight, self.a.bias)), "y": (self.b(h),)}


class Resized(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.ConvTranspose2d(3, 4, 3, stride=2), nn.Conv2d(4, 4, 1)

    def forward(self, x):
        return self.b(self.a(x, output_size=[10, 10]))


class Doubling(nn.MultiheadAttention):
    def forward(self, *args, **kwargs):
        y, weights = super().forward(*args, **kwargs)
        return 2 * y, weights


class Attending(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.m, self.l = kind(8, 2, batch_first=True), nn.Linear(8, 8)

    def forward(self, x):
        return self.l(self.m(x, x, x, need_weights=False)[0])


class Complex(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 8, dtype=torch.complex64), nn.Linear(8, 8)

    def forward(self, x):
        return self.b(self.a(x.to(torch.complex64)).real)


def scripted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return then(torch.jit.script(nn.Linear(8, 8)))


def then(layer, *more):
    return nn.Sequential(layer, nn.Linear(8, 4), *more)


def hooked():
    model = then(nn.Linear(8, 8))
    model[0].register_forward_hook(lambda module, args, output: 2 * output)
    return model


def pruned():
    model = then(nn.Linear(8, 8))
    prune.l1_unstructured(model[0], "weight", 0.5)
    return model


def old_weight_norm():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return then(nn.utils.weight_norm(nn.Linear(8, 8)))


x8 = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
#: Model, example, the layer that stays digital and a word of the reason; no layer: all go into memory.
KINDS = {
    "named": (then(Named(8, 8)), x8, None, ""),
    "written": (then(Written(8, 8)), x8, None, ""),
    "standardised": (nn.Sequential(Standardised(6, 8, 3), nn.Conv2d(8, 4, 1)), torch.randn(2, 6, 9, 9), "0", "differs"),
    "normalised": (then(Normalised(8, 8)), x8, "0", "differs"),
    "noisy": (then(Noisy(8, 8)), x8, "0", "differs"),
    "gained": (then(Gained(8, 8)), x8, "0", "gain"),
    "spectral norm": (then(parametrizations.spectral_norm(nn.Linear(8, 8))), x8, "0", "parametrised"),
    "weight norm": (then(parametrizations.weight_norm(nn.Linear(8, 8))), x8, "0", "parametrised"),
    "orthogonal": (then(parametrizations.orthogonal(nn.Linear(8, 8))), x8, "0", "parametrised"),
    "old weight norm": (old_weight_norm(), x8, "0", "hooks"),
    "old spectral norm": (then(nn.utils.spectral_norm(nn.Linear(8, 8))).eval(), x8, "0", "hooks"),
    "pruned": (pruned(), x8, "0", "hooks"),
    "hooked": (hooked(), x8, "0", "hooks"),
    "complex": (Complex(), x8, "a", "complex"),
    "by another reference": (Through(), x8, "a", "without calling it"),
    "functional": (Functional(), {"x": x8}, "a", "does not call it"),
    "output size": (Resized(), torch.randn(1, 3, 4, 4), "a", "output_size"),
    "attention": (Attending(nn.MultiheadAttention).eval(), torch.randn(2, 5, 8), None, ""),
    "attention of its own": (Attending(Doubling).eval(), torch.randn(2, 5, 8), "m", "MultiheadAttention"),
    "script": (scripted(), x8, "0", "TorchScript"),
    "empty": (nn.Sequential(nn.Flatten(), nn.Linear(8, 8), nn.ModuleDict({"a": nn.Identity()})["a"]), x8, None, ""),
    "ordered": (nn.Sequential(OrderedDict(fc1=nn.Linear(8, 8), act=nn.ReLU(), fc2=nn.Linear(8, 4))), x8, None, ""),
    "reflected": (nn.Sequential(nn.Conv2d(3, 4, 3, padding_mode="reflect", padding=1), nn.Conv2d(4, 4, 1)),
                  torch.randn(1, 3, 5, 5), "0", "padding_mode"),
}  # fmt: skip


def run(model, example):
    model.eval()
    with torch.no_grad():
        return tensors_in(model(**example) if isinstance(example, dict) else model(example))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of TorchScript
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("with_example", [True, False])
def test_a_model_computes_in_memory_what_it_computed(name, with_example):
    model, example, digital, word = KINDS[name]
    if name in ("by another reference", "functional", "output size") and not with_example:
        pytest.skip("only a run tells")
    before = {k: v.clone() for k, v in model.state_dict().items()}
    converted, coverage = convert(model, D, example=example if with_example else None)
    listed = {w.name: w.reason for w in coverage.layers if not w.in_memory}
    if with_example or name != "written":
        assert set(listed) == ({digital} if digital is not None else set())
        assert digital is None or word in listed[digital] or not with_example
    assert any(isinstance(m, MemoryLayer) for m in converted.modules())
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in before.items())
    for y, expected in zip(run(converted, example), run(model, example), strict=True):
        assert float((y - expected).norm() / expected.norm()) < 1e-3  # rounding to 14 bits
    # the model's own state goes into the converted one, and its keys stay except the attention's
    converted.load_state_dict(model.state_dict())
    if name != "attention":
        assert set(model.state_dict()) <= set(converted.state_dict())


def test_what_the_reasons_advise_works():
    layer = parametrizations.weight_norm(nn.Linear(8, 8))
    parametrize.remove_parametrizations(layer, "weight")
    _, coverage = convert(then(layer), D, example=x8)
    assert coverage.mac_fraction == 1
    model = Resized()
    _, coverage = convert(model, ArraySpec(mode="digital", layers={"a": "digital"}, digital_ends=False))
    kept, _ = convert(model, D)
    with pytest.raises(InputError, match=r'layers=\{"a": "digital"\}'), torch.no_grad():
        kept(torch.randn(1, 3, 4, 4))


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(20, 20)
        self.b, self.d = self.a, nn.Linear(20, 3)
        self.more = nn.ModuleDict({"again": self.a})

    def forward(self, x):
        return self.d(self.more["again"](self.b(self.a(x).relu())))


def test_a_layer_under_several_names_is_one():
    model = Shared()
    x = torch.randn(2, 20)
    converted, coverage = convert(model, D, example=x[:1])
    assert converted.a is converted.b
    assert converted.more["again"] is converted.a
    assert isinstance(converted.a, MemoryLayer)
    assert [(w.name, w.macs) for w in coverage.layers] == [("a", 3 * 400), ("d", 60)]
    with torch.no_grad():
        assert torch.allclose(converted(x), model(x), atol=1e-3)


def test_tied_weights_stay_tied():
    model = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False))
    model[1].weight = model[0].weight
    converted, _ = convert(model, D, example=x8)
    assert converted[0].weight is converted[1].weight
    converted[0].weight.data.fill_(0.5)
    with torch.no_grad():
        assert torch.allclose(converted(x8), x8 @ torch.full((8, 8), 0.5) @ torch.full((8, 8), 0.5), atol=2e-2)


def test_models_that_hold_no_values_are_refused():
    with pytest.raises(InputError, match=r"0\.weight is not initialised; call the lazy model once"):
        convert(nn.Sequential(nn.LazyLinear(8), nn.Linear(8, 8)), D, example=x8)
    with pytest.raises(InputError, match=r"0\.weight lies on the meta device"):
        convert(nn.Sequential(nn.Linear(8, 8, device="meta")), D)
    with pytest.raises(InputError, match="does not take the example"):
        convert(then(nn.Linear(8, 8)), D, example=torch.zeros(1, 9))
    converted, _ = convert(then(nn.Linear(8, 8)), D)
    with pytest.raises(InputError, match="in memory already"):
        convert(converted, D)
    with pytest.raises(InputError, match="adc_bits = 99"):
        convert(then(nn.Linear(8, 8)), D.model_copy(update={"adc_bits": 99}))


class Counting(nn.Module):
    """Changes with every call; a comparison of two runs would mean nothing."""

    def __init__(self):
        super().__init__()
        self.a, self.n = nn.Linear(8, 8), 0

    def forward(self, x):
        self.n += 1
        return self.a(x) * self.n + torch.randn(8)


def test_the_conversion_leaves_no_trace():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.Dropout())
    state = copy.deepcopy(model.state_dict())
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    converted, _ = convert(model, D, example=torch.randn(1, 3, 6, 6, generator=torch.Generator().manual_seed(1)))
    assert torch.equal(torch.rand(4), expected)
    assert converted.training
    assert torch.equal(converted[1].running_mean, state["1.running_mean"])
    assert int(converted[1].num_batches_tracked) == 0
    attention = nn.TransformerEncoderLayer(8, 2, 16).eval()
    torch.manual_seed(5)
    convert(attention, D, example=torch.zeros(1, 3, 8))
    assert torch.equal(torch.rand(4), expected)
    assert convert(Counting(), D, example=x8)[1].mac_fraction == 1


def test_the_fused_transformer_kernel_does_not_pass_the_arrays_by():
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True).eval()
    layer.self_attn.register_forward_hook(lambda module, args, output: output)  # stays digital
    converted, coverage = convert(layer, D, example=torch.randn(1, 5, 16))
    assert {w.name for w in coverage.layers if w.in_memory} == {"linear1", "linear2"}
    converted.linear1.weight.data.zero_()
    calls = []
    converted.linear1.register_forward_hook(lambda *a: calls.append(1))
    with torch.no_grad():
        converted(torch.randn(1, 5, 16))
    assert calls
