"""Whole models in crossbars."""

import copy
import io

import pytest
import torch
from torch import nn

from voltaspin.core.context import RunContext, running
from voltaspin.core.errors import InputError
from voltaspin.memory import ArraySpec, ClippingWarning, MemoryLayer, calibrate, convert
from voltaspin.memory.crossbar.layer import context_of
from voltaspin.memory.crossbar.projections import split_projections

LAYERS = {
    "linear": (nn.Linear(12, 7), (4, 5, 12)),
    "conv1d": (nn.Conv1d(4, 6, 3, stride=2, padding=1), (4, 4, 9)),
    "conv2d": (nn.Conv2d(4, 6, 3, padding=1), (4, 4, 8, 8)),
    "strided": (nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=1, bias=False), (4, 4, 9, 8)),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2), (4, 4, 8, 8)),
    "one output": (nn.Conv2d(4, 1, 3, padding=1), (4, 4, 8, 8)),
    "one pixel": (nn.Conv2d(4, 6, 8), (4, 4, 8, 8)),
    "one feature": (nn.Linear(12, 1), (4, 5, 12)),
    "dilated": (nn.Conv2d(4, 6, 3, dilation=2, padding="same"), (4, 4, 8, 8)),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1), (4, 4, 5, 5)),
    "transposed, grouped": (nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2), (4, 4, 5, 5)),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(
    "fields",
    [
        {"mode": "digital"},
        {"adc_model": "exact", "adc_bits": 16, "rows": 16},
        {"adc_model": "statistical", "adc_bits": 16, "rows": 16},
        {"adc_model": "exact", "adc_bits": 16, "rows": 16, "signed": "offset"},
    ],
)
def test_each_kind_of_layer_is_the_float_layer_up_to_rounding(name, fields):
    torch.manual_seed(0)
    layer, shape = LAYERS[name]
    x = torch.randn(shape)
    model, coverage = convert(layer, ArraySpec(input_bits=12, weight_bits=12, **fields))
    assert isinstance(model, MemoryLayer)
    assert coverage.layers[0].in_memory
    with torch.no_grad():
        expected = layer(x)
        y = model(x)
    assert y.shape == expected.shape
    assert float((y - expected).abs().max()) < 0.01 * float(expected.std())


@pytest.mark.parametrize("name", LAYERS)
def test_the_two_routes_have_the_same_noise(name):
    """Variance of an output over draws, direct route against columns; 600 draws give 6 % each."""
    torch.manual_seed(1)
    layer, shape = LAYERS[name]
    x = torch.randn(shape[1:])[None].repeat(600, *[1] * (len(shape) - 1))
    fields = {"read_noise": 0.2, "rows": 16, "resistance_spread": 0.05, "adc_bits": 16}
    with torch.no_grad():
        a, b = (convert(layer, ArraySpec(adc_model=m, **fields))[0](x) for m in ("statistical", "exact"))
    assert float((a.mean(0) - b.mean(0)).abs().max()) < 5 * float(a.std(0).max()) * (2 / 600) ** 0.5
    ratio = a.var(0).mean() / b.var(0).mean()
    assert float((ratio - 1).abs()) < 4 * 2 / 600**0.5


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.SiLU(), nn.Linear(16, 16), nn.SiLU(), nn.Linear(16, 16), nn.SiLU(),
                         nn.Linear(16, 2))  # fmt: skip


def test_coverage_says_what_stays_digital_and_why():
    _, coverage = convert(small(), ArraySpec(), example=torch.zeros(1, 8))
    assert [(w.name, w.in_memory, w.reason) for w in coverage.layers] == [
        ("0", False, "first layer"), ("2", True, ""), ("4", True, ""), ("6", False, "last layer"),
    ]  # fmt: skip
    assert coverage.macs == 8 * 16 + 2 * 256 + 32
    assert coverage.mac_fraction == pytest.approx(512 / 672)
    assert coverage.arrays == 2
    assert coverage.cells == 2 * 256 * 14
    kept, report = convert(small(), ArraySpec(layers={"2": "digital", "6": {"adc_bits": 10}}))
    assert [w.in_memory for w in report.layers] == [False, False, True, True]
    assert kept[6].spec.adc_bits == 10
    with pytest.raises(InputError, match="matches none"):
        convert(small(), ArraySpec(layers={"convolution": "digital"}))


def test_a_model_with_nothing_to_convert_is_refused():
    with pytest.raises(InputError, match="no layer"):
        convert(nn.Sequential(nn.ReLU()), ArraySpec())
    with pytest.raises(InputError, match=r"'2'.*would be misread with a probability of 0\.003"):
        convert(small(), ArraySpec(mode="digital", read_noise=0.1))
    bad = small()
    bad[2].weight.data[0, 0] = float("nan")
    with pytest.raises(InputError, match=r"'2': its weight holds 1 values that are NaN"):
        convert(bad, ArraySpec())
    model, _ = convert(small(), ArraySpec())
    with pytest.raises(InputError, match="'2': its input"):
        model(torch.full((1, 8), float("nan")))


def test_unet_of_the_package_is_covered():
    from voltaspin.diffusion.pipelines import load_pipeline, shipped_model

    unet = load_pipeline(shipped_model()).unet
    _, coverage = convert(unet, ArraySpec(mode="digital"))
    assert coverage.mac_fraction >= 0.985
    assert coverage.other_macs == 2 * 49 * 49 * 96  # both products of the attention over 7 x 7 positions
    assert {w.reason for w in coverage.layers if not w.in_memory} == {"first layer", "last layer", "time embedding"}


NOISE = {"read_noise": 0.05, "resistance_spread": 0.05, "weight_bits": 4, "write_error_rate": 1e-2}


def test_noise_belongs_to_the_image_and_the_step():
    model, _ = convert(small(), ArraySpec(**NOISE), calibration=[torch.randn(64, 8)])
    x = torch.randn(6, 8)
    with torch.no_grad():
        with running(RunContext(images=(4, 5, 6, 7, 8, 9), step=3)):
            whole = model(x)
            again = model(x)
        with running(RunContext(images=(7, 8), step=3)):
            part = model(x[3:5])
        with running(RunContext(images=(7, 8), step=4)):
            later = model(x[3:5])
    assert torch.equal(whole, again)
    assert torch.allclose(part, whole[3:5], atol=1e-5)
    assert not torch.allclose(part, later, atol=1e-4)


def test_converted_models_save_load_copy_and_pickle():
    spec = ArraySpec(**NOISE)
    model, _ = convert(small(), spec, calibration=[torch.randn(64, 8)])
    x = torch.randn(5, 8)
    context = RunContext(images=(0, 1, 2, 3, 4))
    with torch.no_grad(), running(context):
        y = model(x)
        assert torch.equal(copy.deepcopy(model)(x), y)
        fresh, _ = convert(nn.Sequential(*[copy.deepcopy(m) for m in small()]), spec)
        for p in fresh.parameters():
            p.data.zero_()
        fresh.load_state_dict(model.state_dict())
        assert torch.equal(fresh(x), y)
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        assert torch.equal(torch.load(file, weights_only=False)(x), y)
    other, _ = convert(small(), ArraySpec(**{**NOISE, "weight_bits": 5}))
    with pytest.raises((InputError, RuntimeError), match=r"weight_bits differ|size mismatch"):
        other.load_state_dict(model.state_dict())


def test_gradients_go_straight_through_and_training_adapts():
    torch.manual_seed(2)
    target, x = nn.Linear(8, 2), torch.randn(256, 8)
    wanted = target(x).detach()
    # trained on the arrays as they are: the cells are written again after every step
    model, _ = convert(small(), ArraySpec(weight_bits=3, read_noise=0.05, resistance_spread=0.1, adc_bits=6))
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(150):
        loss = ((model(x) - wanted) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in model.parameters())
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])


def test_calibration_warns_of_clipping_and_says_what_it_missed():
    with pytest.warns(ClippingWarning, match=r"conversions are clipped"):
        convert(small(), ArraySpec(adc_range=5.0, adc_bits=4), calibration=[torch.randn(64, 8)])
    model, _ = convert(small(), ArraySpec())
    with pytest.raises(InputError, match="never reached"):
        calibrate(model, lambda m: None)
    with pytest.raises(InputError, match="no layer in memory"):
        calibrate(small(), [torch.randn(1, 8)])


class Timed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = small()

    def forward(self, x: torch.Tensor, timestep: int) -> torch.Tensor:
        return self.body(x * (1 + timestep / 100))


def test_ranges_per_bucket_of_time_steps():
    model, _ = convert(Timed(), ArraySpec(time_buckets=2), example=(torch.zeros(1, 8), 0))
    x = torch.randn(64, 8)
    calibrate(model, [(x, 100), (x, 900)])
    step = model.body[2].input_step
    assert float(step[1]) > 2 * float(step[0])
    with pytest.raises(InputError, match="buckets"):
        model(x, torch.tensor([100, 900]))


def test_the_ledger_counts_by_layer_and_step():
    spec = ArraySpec(weight_bits=4, rows=8, columns=32, adc_bits=6)
    model, _ = convert(small(), spec)
    with torch.no_grad(), running(RunContext(images=(0, 1, 2), step=7)):
        model(torch.randn(3, 8))
    layer = context_of(model).ledger.child("2").child("step 7")
    assert layer.total("conversion") == 3 * 2 * 16 * 3  # images, tiles along 16 inputs, outputs, slices
    assert layer.total("product") == 3 * 16 * 16 * 6
    assert layer.total("drive") == 3 * 16 * 4  # five outputs of six columns share a tile
    assert context_of(model).ledger.total("write") == 2 * 256 * 6


@pytest.mark.parametrize(
    "options",
    [{}, {"batch_first": True}, {"bias": False}, {"kdim": 12, "vdim": 20}, {"add_bias_kv": True},
     {"add_zero_attn": True}],
)  # fmt: skip
@pytest.mark.parametrize("masked", [False, True])
def test_split_attention_is_torchs(options, masked):
    torch.manual_seed(0)
    plain = nn.MultiheadAttention(16, 4, **options).eval()
    split = split_projections(nn.Sequential(plain))[0]
    kd, vd = options.get("kdim", 16), options.get("vdim", 16)
    x = [torch.randn(5, 3, 16), torch.randn(7, 3, kd), torch.randn(7, 3, vd)]
    x = [t.transpose(0, 1) for t in x] if options.get("batch_first") else x
    masks = {}
    if masked:
        masks = {"attn_mask": torch.randn(5, 7), "key_padding_mask": torch.zeros(3, 7)}
        masks["key_padding_mask"][1, 5:] = -torch.inf
    for more in ({}, {"average_attn_weights": False}, {"need_weights": False}):
        (y, w), (y0, w0) = split(*x, **masks, **more), plain(*x, **masks, **more)
        assert torch.allclose(y, y0, atol=1e-5)
        assert (w is None and w0 is None) or torch.allclose(w, w0, atol=1e-5)


def test_transformers_go_into_memory_with_their_projections():
    torch.manual_seed(0)
    plain = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 2, enable_nested_tensor=False
    )
    plain.eval()
    x = torch.randn(2, 6, 32)
    spec = ArraySpec(mode="digital", weight_bits=12, input_bits=12, digital_ends=False)
    model, coverage = convert(plain, spec, example=x[:1])
    assert [w.in_memory for w in coverage.layers] == [True] * 12
    assert coverage.other_macs == 2 * 2 * 6 * 6 * 32  # scores and weighted values of two layers
    with torch.no_grad():
        assert torch.allclose(model(x), plain(x), atol=0.02)
    assert context_of(model).ledger.child("attention and other products").total("mac") == 2 * coverage.other_macs


def test_what_stays_digital_is_counted():
    model, coverage = convert(small(), ArraySpec(), example=torch.zeros(1, 8))
    model(torch.zeros(3, 8))
    ledger = context_of(model).ledger
    for layer in coverage.layers:
        child = ledger.child(layer.name)
        assert child.total("mac") == (0 if layer.in_memory else 3 * layer.macs)
        assert bool(child.total("product")) == layer.in_memory


@pytest.mark.parametrize("what", [lambda x: x, torch.zeros(3), None, [nn.Linear(2, 2)]])
def test_what_is_no_module_is_refused(what):
    with pytest.raises(InputError, match=r"is no torch\.nn\.Module"):
        convert(what, ArraySpec.preset("digital"))
