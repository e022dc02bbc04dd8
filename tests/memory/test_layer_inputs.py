"""Odd inputs and edited weights: the plain layer's numbers, or one line that says what to change."""

import copy
import io
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from voltaspin.core.errors import InputError
from voltaspin.memory import ArraySpec, Crossbar, convert
from voltaspin.memory.crossbar.layer import context_of

SPECS = {
    "digital": ArraySpec(mode="digital", weight_bits=12, input_bits=12),
    "exact": ArraySpec(adc_model="exact", adc_bits=16, weight_bits=10, input_bits=10, rows=16),
    "statistical": ArraySpec(adc_bits=16, weight_bits=10, input_bits=10, rows=16),
    "bit-serial": ArraySpec(
        adc_model="exact", inputs="bit-serial", adc_bits=16, weight_bits=10, input_bits=10, rows=16
    ),
}
LAYERS = {
    "linear": (nn.Linear(12, 7), (3, 5, 12)),
    "conv1d": (nn.Conv1d(4, 6, 3), (3, 4, 9)),
    "conv2d": (nn.Conv2d(4, 6, 3, padding=1), (3, 4, 6, 6)),
    "transposed": (nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2), (3, 4, 5, 5)),
}
CONVERTED = {(s, n): convert(layer, SPECS[s])[0] for s in SPECS for n, (layer, _) in LAYERS.items()}
TAKEN = {
    "as is": lambda x: x,
    "batch 0": lambda x: x[:0],
    "one alone": lambda x: x[0],
    "expanded": lambda x: x[:1].expand_as(x),
    "strided": lambda x: torch.stack([x, x], -1)[..., 1],
    "reversed": lambda x: x.flip(-1),
    "transposed": lambda x: x.transpose(0, -1).contiguous().transpose(0, -1),
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x,
    "zeros": torch.zeros_like,
}
GRADS = {"grad": torch.enable_grad, "no_grad": torch.no_grad, "inference": torch.inference_mode}


@settings(max_examples=120, deadline=None)
@given(
    spec=st.sampled_from(sorted(SPECS)), name=st.sampled_from(sorted(LAYERS)), taken=st.sampled_from(sorted(TAKEN)),
    mode=st.sampled_from(sorted(GRADS)), power=st.floats(-320, 307), seed=st.integers(0, 9),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.float16, torch.bfloat16]),
)  # fmt: skip
def test_any_real_input_gives_the_plain_layers_numbers(spec, name, taken, mode, power, seed, dtype):
    layer, shape = LAYERS[name]
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 10.0**power
    x = TAKEN[taken](x.clamp(-torch.finfo(dtype).max, torch.finfo(dtype).max).to(dtype))
    with torch.no_grad():
        expected = copy.deepcopy(layer).double()(x.double())
    with GRADS[mode]():
        y = CONVERTED[spec, name](x)
    assert y.dtype == dtype
    assert y.shape == expected.shape
    if not y.numel():
        return
    size = float(expected.abs().max())
    expected = expected.to(dtype).double()  # beyond the type's range the plain layer is infinite, too
    y = y.detach().double()
    assert torch.equal(y.isinf(), expected.isinf()) or size > 0.99 * torch.finfo(dtype).max
    # 10 bits of inputs and weights in sums of at most 36 products, and the rounding of the type
    bound = size * (0.03 + 4 * torch.finfo(dtype).eps) + 4 * torch.finfo(dtype).smallest_normal
    both = y.isfinite() & expected.isfinite()
    assert bool(((y - expected).abs()[both] <= bound).all())


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda x: x.int(), "int32"),
        (lambda x: x > 0, "bool"),
        (lambda x: x.to(torch.complex64), r"x\.real"),
        (lambda x: x * float("nan"), "NaN or infinite"),
        (lambda x: x / 0.0, "NaN or infinite"),
        (lambda x: x.to("meta"), "meta"),
        (lambda x: x.to_sparse(), "sparse"),
        (lambda x: x[:, :3], "shape"),
        (lambda x: x[0, 0], "shape"),
    ],
)
@pytest.mark.parametrize("spec", SPECS)
def test_other_inputs_are_refused_in_one_line(change, word, spec):
    with pytest.raises(InputError, match=word) as error:
        CONVERTED[spec, "conv2d"](change(torch.randn(3, 4, 6, 6)))
    assert "\n" not in str(error.value)


def test_one_bit_inputs_have_no_sign():
    """-1 was taken for 0 without a word; two bits hold it and take as many phases."""
    layer, x = nn.Linear(64, 8, bias=False), torch.randn(5, 64).sign()
    one, two = (ArraySpec(mode="digital", weight_bits=8, input_bits=b) for b in (1, 2))
    with pytest.raises(InputError, match="input_bits = 2 has -1, 0 and 1"):
        convert(layer, one)[0](x)
    with pytest.raises(InputError, match="input_bits = 2"):
        Crossbar(layer.weight, one) @ x.T
    assert one.phases == two.phases
    with torch.no_grad():
        assert float((convert(layer, two)[0](x) - layer(x)).norm() / layer(x).norm()) < 0.01
        assert float((convert(layer, one)[0](x.relu()) - layer(x.relu())).norm() / layer(x.relu()).norm()) < 0.01


@pytest.mark.parametrize("scale", [1e300, 1e30, 1e-20, 1e-40, 1e-300])
@pytest.mark.parametrize("spec", SPECS)
def test_weights_of_any_size(scale, spec):
    torch.manual_seed(0)
    layer = nn.Linear(12, 7).to(torch.float64 if abs(np.log10(scale)) > 100 else torch.float32)
    layer.weight.data *= scale
    x = torch.randn(4, 12, dtype=layer.weight.dtype)
    model, _ = convert(layer, SPECS[spec])
    y, expected = model(x), layer(x)
    assert float((y - expected).detach().abs().max()) < 0.03 * float(expected.detach().abs().max())
    y.sum().backward()
    assert torch.allclose(model.weight.grad, x.sum(0).expand(7, -1))


@pytest.mark.parametrize(
    "x",
    [np.zeros((8, 0)), np.zeros((0, 8, 3)), np.random.default_rng(0).normal(size=(8, 3))[::-1],
     np.arange(8) > 3, np.arange(8, dtype=np.uint16), np.arange(8, dtype=">f8"), np.arange(8, dtype=np.float16),
     [1.0] * 8, np.arange(8) * 1e300, np.arange(8) * 1e-20, np.arange(8) * 1e-300, np.full(8, 2**62),
     torch.arange(8), torch.arange(8) > 3, torch.arange(8).bfloat16(), torch.ones(8, 1).expand(8, 4),
     torch.ones(8, requires_grad=True)],
)  # fmt: skip
def test_crossbars_take_any_real_array(x):
    w = np.random.default_rng(1).normal(size=(5, 8))
    plain = np.asarray(x.detach().double() if torch.is_tensor(x) else x, dtype=float)
    expected = w @ plain
    for spec in SPECS.values():
        bar = Crossbar(w, spec)
        for y in (bar @ x, bar.oracle(x)) if plain.size else (bar @ x,):
            assert y.shape == expected.shape
            assert np.abs(np.asarray(y) - expected).max(initial=0) <= 0.03 * np.abs(expected).max(initial=0)


@pytest.mark.parametrize(
    ("x", "word"),
    [(np.ones(8) * 1j, "complex"), (["a"] * 8, "no real numbers"), ([None] * 8, "no real numbers"),
     ([[1], [2, 3]], "one shape"), (torch.eye(8).to_sparse(), "dense"), (torch.ones(8, device="meta"), "dense"),
     (np.full(8, np.inf), "infinite"), (3.0, "shape")],
)  # fmt: skip
def test_crossbars_refuse_the_rest_in_one_line(x, word):
    with pytest.raises(InputError, match=word) as error:
        Crossbar(np.eye(8), SPECS["digital"]) @ x
    assert "\n" not in str(error.value)


def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))


def _pickled(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def _trained(model):
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    (model(torch.ones(2, 8)) ** 2).sum().backward()
    optimiser.step()


def _loaded(model):
    torch.manual_seed(9)
    model.load_state_dict(nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)).state_dict())


def _copied(model):
    other = copy.deepcopy(model)
    other[0].weight.data.mul_(2)
    return other


EDITS = {
    "data in place": lambda m: m[0].weight.data.mul_(-3),
    "one element": lambda m: m[0].weight.data[0].fill_(5.0),
    "data exchanged": lambda m: setattr(m[2].weight, "data", torch.full((4, 8), 0.3)),
    "parameter exchanged": lambda m: setattr(m[0], "weight", nn.Parameter(torch.ones(8, 8))),
    "through NumPy": lambda m: m[0].weight.detach().numpy().fill(0.25),
    "rows exchanged": lambda m: m[0].weight.data.copy_(m[0].weight.data.flip(0)),
    "optimiser": _trained,
    "state dict": _loaded,
    "copied and edited": _copied,
    "pickled": _pickled,
    "float64": lambda m: m.double(),
    "bfloat16": lambda m: m.bfloat16(),
    "bias": lambda m: m[0].bias.data.add_(1),
}


@pytest.mark.parametrize("edit", EDITS)
def test_the_cells_follow_the_weights(edit):
    """The edited plain model is the reference; the cells had been written before the edit."""
    plain, (model, _) = small(), convert(small(), SPECS["digital"])
    x = torch.randn(3, 8)
    with torch.no_grad():
        model(x)
    results = []
    for m in (plain, model):
        m = new if isinstance(new := EDITS[edit](m), nn.Sequential) else m
        with torch.no_grad():
            results.append(m(x.to(m[0].weight.dtype)).float())
    assert float((results[0] - results[1]).abs().max() / results[0].abs().max()) < 0.02


def test_cells_are_written_only_where_weights_change():
    model, _ = convert(small(), SPECS["digital"])
    x = torch.randn(3, 8)
    model(x)
    writes = context_of(model).ledger.total("write")
    model.load_state_dict(model.state_dict())
    model.double()
    model(x.double())
    assert context_of(model).ledger.total("write") == writes
    model[0].weight.data[0, 0] += 1
    model(x.double())
    assert context_of(model).ledger.total("write") > writes


def test_cells_written_in_inference_mode_can_be_trained():
    model, _ = convert(small(), SPECS["statistical"])
    x = torch.randn(3, 8)
    with torch.inference_mode():
        model[0].weight.data.mul_(1.5)
        model(x)
    model(x).sum().backward()
    assert float(model[0].weight.grad.abs().sum()) > 0


def test_a_bias_is_trained_beside_frozen_weights_and_ranges_stay_float32():
    model, _ = convert(small(), SPECS["statistical"], calibration=[torch.randn(16, 8)])
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.endswith("bias")
    model(torch.randn(3, 8)).sum().backward()
    assert model[2].bias.grad.tolist() == [3.0] * 4
    assert model.half()[0].adc_limit.dtype == torch.float32


def _dual(model, x):
    with torch.autograd.forward_ad.dual_level():
        return model(torch.autograd.forward_ad.make_dual(x, x))


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda model, x: torch.func.vmap(model, randomness="different")(x), "a transform of torch.func"),
        (lambda model, x: torch.func.grad(lambda y: model(y).sum())(x), "a transform of torch.func"),
        (lambda model, x: torch.func.jacrev(model)(x[0]), "a transform of torch.func"),
        (lambda model, x: torch.func.jvp(model, (x,), (x,)), "forward-mode differentiation"),
        (_dual, "forward-mode differentiation"),
        (lambda model, x: torch.jit.trace(model, x), "torch.jit.trace"),
    ],
)
@pytest.mark.parametrize("spec", sorted(SPECS))
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # PyTorch's own forward mode uses it
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_transforms_are_refused_in_one_line(call, word, spec):
    with pytest.raises(InputError, match=f"is called by {word}.*call the model on a batch"):
        call(CONVERTED[spec, "linear"], torch.randn(5, 12))


def test_a_compiled_model_draws_its_noise_each_time():
    model, _ = convert(nn.Sequential(nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 7)), ArraySpec(adc_bits=4))
    compiled, x = torch.compile(model, backend="eager"), torch.randn(5, 12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Dynamo's own, of a first compilation
        outputs = [compiled(x) for _ in range(3)]
    assert not torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[1], outputs[2])
    counted = context_of(model).ledger.children["0"].counts
    three, written = counted["product"], counted["write"]
    compiled(x)
    assert (3 * counted["product"], counted["write"]) == (4 * three, written)
