"""Multiply-accumulates counted by hand, and the share of them that crossbars do."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from voltaspin.core.errors import InputError
from voltaspin.cost.network import compute_cost
from voltaspin.memory import ArraySpec, convert, trace
from voltaspin.memory.crossbar.counting import as_found, counted

D = ArraySpec(mode="digital", digital_ends=False)
r = torch.randn


class Of(nn.Module):
    """A function as a module, its parameters in view of the model."""

    def __init__(self, function, *modules):
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(modules)

    def forward(self, *x):
        return self.function(*self.parts, *x)


def heads(q, k, v):
    return F.scaled_dot_product_attention(q, k, v)


#: Model, arguments, and multiply-accumulates: outputs times inputs of each matrix, times positions.
BY_HAND = {
    "LSTM": (nn.LSTM(20, 64, batch_first=True), (r(1, 7, 20),), 7 * 4 * 64 * (20 + 64)),
    "GRU, two layers, two directions": (
        nn.GRU(20, 8, 2, bidirectional=True), (r(5, 3, 20),), 15 * 2 * 3 * 8 * ((20 + 8) + (16 + 8))),
    "RNN": (nn.RNN(20, 64, batch_first=True), (r(1, 7, 20),), 7 * 64 * 84),
    "LSTM cell": (nn.LSTMCell(20, 64), (r(2, 20),), 2 * 4 * 64 * 84),
    "GRU cell": (nn.GRUCell(20, 64), (r(2, 20),), 2 * 3 * 64 * 84),
    "Conv3d": (nn.Conv3d(2, 32, 3), (r(1, 2, 5, 5, 5),), 27 * 32 * 2 * 27),
    "ConvTranspose3d": (nn.ConvTranspose3d(2, 4, 3, groups=2), (r(1, 2, 5, 5, 5),), 125 * 4 * 27),
    "ConvTranspose1d": (nn.ConvTranspose1d(4, 6, 3, stride=2), (r(1, 4, 5),), 5 * 4 * 6 * 3),
    "depthwise Conv2d": (nn.Conv2d(8, 8, 3, groups=8), (r(1, 8, 6, 6),), 16 * 8 * 9),
    "Bilinear": (nn.Bilinear(20, 30, 10), (r(3, 20), r(3, 30)), 3 * 20 * 30 * 10),
    "EmbeddingBag": (nn.EmbeddingBag(10, 6), (torch.randint(0, 10, (3, 4)),), 12 * 6),
    "Embedding": (nn.Embedding(10, 6), (torch.randint(0, 10, (3, 4)),), 0),
    "matmul": (Of(torch.matmul), (r(4, 5, 6), r(6, 7)), 4 * 5 * 6 * 7),
    "F.linear": (Of(F.linear), (r(4, 6), r(7, 6)), 4 * 6 * 7),
    "F.conv2d": (Of(F.conv2d), (r(1, 3, 6, 6), r(5, 3, 3, 3)), 16 * 5 * 27),
    "unfold and matmul": (Of(lambda x, w: F.unfold(x, 3).mT @ w), (r(2, 3, 6, 6), r(27, 5)), 2 * 16 * 27 * 5),
    "mv": (Of(torch.mv), (r(4, 5), r(5)), 20),
    "dot": (Of(torch.dot), (r(5), r(5)), 5),
    "vdot": (Of(torch.vdot), (r(5), r(5)), 5),
    "outer": (Of(torch.outer), (r(5), r(6)), 30),
    "addmv": (Of(torch.addmv), (r(4), r(4, 5), r(5)), 20),
    "addr": (Of(torch.addr), (r(5, 6), r(5), r(6)), 30),
    "addbmm": (Of(torch.addbmm), (r(5, 6), r(3, 5, 4), r(3, 4, 6)), 3 * 5 * 4 * 6),
    "baddbmm": (Of(torch.baddbmm), (r(3, 5, 6), r(3, 5, 4), r(3, 4, 6)), 3 * 5 * 4 * 6),
    "tensordot": (Of(lambda a, b: torch.tensordot(a, b, 2)), (r(3, 4, 5), r(4, 5, 6)), 3 * 20 * 6),
    "einsum": (Of(lambda a, b: torch.einsum("bij,kj->bik", a, b)), (r(2, 3, 4), r(5, 4)), 2 * 3 * 4 * 5),
    "a product written out": (Of(lambda a, b: (a[:, None] * b).sum(-1)), (r(3, 4), r(5, 4)), 3 * 5 * 4),
    "kron": (Of(torch.kron), (r(3, 4), r(5, 6)), 360),
    "cdist": (Of(torch.cdist), (r(3, 4), r(5, 4)), 3 * 5 * 4),
    "attention on the CPU": (Of(heads), (r(2, 4, 6, 8), r(2, 4, 7, 8), r(2, 4, 7, 8)), 2 * 4 * 6 * 7 * (8 + 8)),
    "complex matmul": (Of(torch.matmul), (r(4, 5, dtype=torch.cfloat), r(5, 6, dtype=torch.cfloat)), 4 * 120),
    "transformer layer, fast path": (
        nn.TransformerEncoderLayer(16, 4, 32, batch_first=True).eval(), (r(2, 5, 16),),
        2 * (5 * 16 * 16 * 4 + 2 * 5 * 5 * 16 + 2 * 5 * 16 * 32)),
    "no matrix at all": (
        nn.Sequential(nn.BatchNorm2d(3), nn.GroupNorm(3, 3), nn.MaxPool2d(2), nn.Upsample(scale_factor=2), nn.SiLU(),
                      nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(3), nn.Softmax(-1), nn.Dropout()),
        (r(2, 3, 8, 8),), 0),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_HAND)
def test_multiply_accumulates_counted_by_hand(name):
    model, arguments, macs = BY_HAND[name]
    with as_found(model):
        count, _ = counted(model, arguments)
    assert sum(count.macs.values()) == macs
    assert not count.uncounted


class LikeGPT2(nn.Module):
    """The linear layer of transformers' GPT-2: x W + b, W stored transposed."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight, self.bias = nn.Parameter(r(inputs, outputs)), nn.Parameter(torch.zeros(outputs))

    def forward(self, x):
        return torch.addmm(self.bias, x, self.weight)


@pytest.mark.parametrize(
    ("model", "x", "inside", "outside", "listed"),
    [
        (Of(lambda a, b, x: b(a(x)[0]), nn.LSTM(20, 64, batch_first=True), nn.Linear(64, 5)), r(1, 7, 20),
         7 * 320, 7 * 4 * 64 * 84, "parts.0"),
        (nn.Sequential(LikeGPT2(20, 800), nn.Linear(800, 5)), r(1, 20), 4000, 16000, "0"),
        (nn.Sequential(nn.Conv3d(2, 32, 3), nn.Flatten(2), nn.Linear(216, 4)), r(1, 2, 8, 8, 8), 32 * 216 * 4,
         216 * 54 * 32, "0"),
        (nn.Sequential(nn.LSTMCell(8, 8), Of(lambda h: h[0]), nn.Linear(8, 4)), r(1, 8), 32, 4 * 8 * 16, "0"),
        (nn.Sequential(nn.Linear(8, 8), Of(lambda x: x @ x.mT), nn.Linear(3, 3)), r(1, 3, 8), 3 * 64 + 27, 72, ""),
    ],
)  # fmt: skip
def test_the_share_is_of_everything_that_the_model_computes(model, x, inside, outside, listed):
    _, coverage = convert(model, D, example=x)
    assert coverage.macs == inside + outside
    assert coverage.mac_fraction == pytest.approx(inside / (inside + outside))
    assert not listed or any(w.name == listed and w.macs == outside and w.reason for w in coverage.layers)
    assert f"{outside:,}" in str(coverage)


class Numpy(nn.Module):
    def forward(self, x):
        return torch.from_numpy(x.numpy() @ x.numpy().T)


@pytest.mark.parametrize(
    ("part", "operation"),
    [
        (Of(lambda x: torch.fft.rfft(x).real), "aten._fft_r2c"),
        (Of(lambda x: torch.linalg.inv(x @ x.mT + torch.eye(8))), "aten.linalg_inv_ex"),
        (Of(lambda x: torch.sparse.mm(x.to_sparse(), x.mT)), "aten._sparse_addmm"),
        (Numpy(), "Tensor.numpy"),
    ],
)
def test_what_cannot_be_counted_is_listed_and_there_is_no_share(part, operation):
    model, coverage = convert(nn.Sequential(nn.Linear(8, 8), part), D, example=r(8, 8))
    assert coverage.mac_fraction is None
    assert operation in coverage.uncounted
    assert operation in str(coverage)
    with torch.no_grad():
        model(r(8, 8))
    with pytest.raises(InputError, match="cannot be counted"):
        compute_cost(trace(nn.Sequential(nn.Linear(8, 8), part), r(8, 8)), D, evaluations=1)


def test_without_an_example_there_is_no_share():
    model, coverage = convert(nn.Sequential(nn.Conv3d(2, 32, 3), nn.Flatten(2), nn.Linear(216, 4)), D)
    assert coverage.mac_fraction is None
    assert coverage.macs is None
    assert "example" in str(coverage)
    assert [w.name for w in coverage.layers if not w.in_memory] == ["0"]
    model(r(1, 2, 8, 8, 8))


def test_quantised_layers_are_counted():
    packed = torch.ops.quantized.linear_prepack
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the coming end of quantised tensors
        weight = packed(torch.quantize_per_tensor(r(4, 8), 0.1, 0, torch.qint8), r(4))
        model = Of(lambda x: torch.ops.quantized.linear_dynamic(x, weight))
        count, _ = counted(model, (r(3, 8),))
    assert count.macs == {("", "quantized.linear_dynamic"): 3 * 8 * 4}
