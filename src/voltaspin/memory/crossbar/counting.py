"""Count the multiply-accumulates of everything that a model computes.

The formulas are those of PyTorch's ``FlopCounterMode``, and our own for operations that it counts as zero. An
operation is counted, known to do no matrix work, or listed as uncounted. Nothing else exists, so that a new or
custom operation can never pass as free. The layers of one converted model share a :class:`CrossbarContext`, which holds
the counts, the time step and the position of the noise.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from voltaspin.core.context import current
from voltaspin.core.errors import InputError
from voltaspin.core.ledger import Ledger

#: Operations without products of matrices, beside those that PyTorch tags as pointwise and those that return views.
_LIGHT = frozenset(
    """
    _adaptive_avg_pool2d _adaptive_avg_pool3d _add_relu _aminmax _assert_async _assert_scalar
    _assert_tensor_metadata _batch_norm_no_update _batch_norm_with_update _chunk_cat _coalesce _coalesced
    _conj_physical _copy_from _ctc_loss _cummax_helper _cummin_helper _efficientzerotensor _functional_assert_async
    _functional_assert_scalar _fused_dropout _fused_moving_avg_obs_fq_helper _fused_sdp_choice
    _has_same_storage_numel _index_put_impl _is_all_true _is_any_true _lazy_clone _linalg_check_errors
    _local_scalar_dense _log_softmax _logcumsumexp _masked_scale _masked_softmax _mkldnn_reshape _mkldnn_transpose
    _native_batch_norm_legit _native_batch_norm_legit_no_training _pack_padded_sequence _prelu_kernel _print
    _resize_output _safe_softmax _softmax _stack _standard_gamma _thnn_fused_gru_cell _thnn_fused_lstm_cell
    _to_dense _transform_bias_rescale_qkv _unique _unique2 _unsafe_index _unsafe_index_put _unsafe_masked_index
    _unsafe_masked_index_put_accumulate _unsafe_view _upsample_bicubic2d_aa _upsample_bilinear2d_aa
    _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d _weight_norm_interface
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d add
    affine_grid_generator all allclose amax amin aminmax any arange argmax argmin as_strided_scatter avg_pool1d
    avg_pool2d avg_pool3d batch_norm_elemt batch_norm_stats bernoulli binary_cross_entropy
    binary_cross_entropy_with_logits bincount binomial block_diag bucketize cat cauchy celu channel_shuffle clone
    col2im complex constant_pad_nd copy count_nonzero cudnn_batch_norm cudnn_grid_sampler cummax cummin cumprod
    cumsum dense_dim dequantize diag_embed diagonal_scatter dist elu embedding embedding_renorm empty empty_like
    empty_permuted empty_quantized empty_strided equal exponential eye fake_quantize_per_channel_affine_cachemask
    fake_quantize_per_tensor_affine_cachemask _fake_quantize_per_tensor_affine_cachemask_tensor_qparams fft_fftfreq
    fft_rfftfreq fill flip fractional_max_pool2d fractional_max_pool3d full full_like gather geometric glu
    grid_sampler_2d grid_sampler_3d hardtanh histc huber_loss im2col index index_add index_copy index_fill index_put
    index_reduce index_select int_repr is_coalesced is_pinned is_same_size is_set_to isin kthvalue leaky_relu lift
    lift_fresh linalg_vector_norm linspace log_normal log_sigmoid_forward log_softmax logcumsumexp logspace
    logsumexp masked_fill masked_scatter masked_select max max_pool2d_with_indices max_pool3d_with_indices
    max_unpool2d max_unpool3d mean median min mode mse_loss multi_margin_loss multilabel_margin_loss_forward
    multinomial nanmedian nansum native_batch_norm native_dropout native_group_norm native_layer_norm native_norm
    new_empty new_empty_strided new_full new_ones new_zeros nll_loss2d_forward nll_loss_forward nonzero
    nonzero_static norm normal normal_functional ones ones_like pixel_shuffle pixel_unshuffle poisson prod put
    q_per_channel_axis q_per_channel_scales q_per_channel_zero_points q_scale q_zero_point qscheme
    quantize_per_channel quantize_per_tensor quantize_per_tensor_dynamic quantized_batch_norm quantized_max_pool1d
    quantized_max_pool2d rand rand_like randint randint_like randn randn_like random randperm range reflection_pad1d
    reflection_pad2d reflection_pad3d renorm repeat repeat_interleave replication_pad1d replication_pad2d
    replication_pad3d resize resize_as roll rot90 rrelu_with_noise scalar_tensor scatter scatter_add scatter_reduce
    searchsorted segment_reduce select_scatter set slice_scatter smooth_l1_loss soft_margin_loss softmax softplus
    sort std std_mean stack sum sym_constrain_range sym_constrain_range_for_size take topk trace tril tril_indices
    triu triu_indices uniform unique_consecutive unique_dim unsafe_split unsafe_split_with_sizes upsample_bicubic2d
    upsample_bilinear2d upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d
    upsample_trilinear3d var var_mean where zero zeros zeros_like
    """.split()  # noqa: SIM905
)
_LIGHT_QUANTIZED = frozenset(
    """
    add add_relu add_scalar mul mul_relu mul_scalar cat cat_relu relu6 leaky_relu hardswish elu sigmoid celu
    batch_norm batch_norm1d batch_norm2d batch_norm3d batch_norm_relu layer_norm group_norm instance_norm
    """.split()  # noqa: SIM905
)

Formula = Callable[[tuple[Any, ...], Any], int]


def _product(args: tuple[Any, ...], out: Any) -> int:
    return int(args[0].numel() * args[1].shape[-1])


def _attention(args: tuple[Any, ...], out: Any) -> int:
    q, k, v = args[:3]
    return int(q.numel() // q.shape[-1] * k.shape[-2] * (q.shape[-1] + v.shape[-1]))


def _quantized(args: tuple[Any, ...], out: Any) -> int:
    packed = args[1]
    weight = packed.weight() if hasattr(packed, "weight") else torch.ops.quantized.linear_unpack(packed)[0]
    return int(out.numel() // weight.shape[0] * weight.numel())


#: Multiply-accumulates from the arguments and the result, for what PyTorch's counter leaves out.
_FORMULAS: dict[str, Formula] = {
    "aten::mv": lambda a, out: a[0].numel(),
    "aten::addmv": lambda a, out: a[1].numel(),
    "aten::dot": lambda a, out: a[0].numel(),
    "aten::vdot": lambda a, out: a[0].numel(),
    "aten::ger": lambda a, out: out.numel(),
    "aten::addr": lambda a, out: a[1].numel() * a[2].numel(),
    "aten::addbmm": lambda a, out: _product(a[1:], out),
    "aten::_addmm_activation": lambda a, out: _product(a[1:], out),
    "aten::_int_mm": _product,
    "aten::linear": lambda a, out: out.numel() * a[1].shape[-1],
    "aten::mkldnn_linear": lambda a, out: out.numel() * a[1].shape[-1],
    "aten::conv_tbc": lambda a, out: out.numel() * a[1].shape[0] * a[1].shape[1],
    # every pair of inputs meets every output once; the second product of the triple is not counted
    "aten::_trilinear": lambda a, out: torch.broadcast_shapes(
        *(_unsqueezed(t.shape, d) for t, d in zip(a[:3], a[3:6], strict=True))
    ).numel(),
    "aten::_cdist_forward": lambda a, out: out.numel() * a[0].shape[-1],
    "aten::_euclidean_dist": lambda a, out: out.numel() * a[0].shape[-1],
    "aten::_pdist_forward": lambda a, out: out.numel() * a[0].shape[-1],
    "aten::_embedding_bag": lambda a, out: a[1].numel() * a[0].shape[-1],
    "aten::_embedding_bag_forward_only": lambda a, out: a[1].numel() * a[0].shape[-1],
    "aten::mkldnn_rnn_layer": lambda a, out: a[0].numel() // a[0].shape[-1] * (a[1].numel() + a[2].numel()),
    "aten::_scaled_dot_product_flash_attention_for_cpu": _attention,
    "aten::_scaled_dot_product_fused_attention_overrideable": _attention,
    **{f"quantized::{n}{r}{d}": _quantized for n in ("linear", "conv1d", "conv2d", "conv3d")
       for r in ("", "_relu") for d in ("", "_dynamic")},
}  # fmt: skip


def _unsqueezed(shape: Any, at: list[int]) -> list[int]:
    sizes = list(shape)
    for d in at:
        sizes.insert(d, 1)
    return sizes


def first_tensor(*values: Any) -> torch.Tensor | None:
    """The first tensor with a dimension among nested arguments: the one that holds the images."""
    return next((t for t in tree_leaves(values) if torch.is_tensor(t) and t.dim()), None)


def refuse_no_image(example: Any) -> None:
    """Raise InputError where the first axis of the first tensor, which counts the images, is empty."""
    x = first_tensor(example)
    if x is not None and not len(x):
        raise InputError(f"the example of shape {tuple(x.shape)} holds no image; give the input of one")


class Count(TorchDispatchMode):
    """Multiply-accumulates of what runs inside, by module and operation.

    Attributes:
        macs: by the name of the innermost module and the operation.
        uncounted: operations whose matrix work is not known, with how often they ran.
        calls: how often each module was called, by its name, in the order of the first calls.
    """

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self.macs: Counter[tuple[str, str]] = Counter()
        self.uncounted: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.inside: list[str] = [""]

    def of(self, name: str) -> int:
        """Multiply-accumulates of one module itself, its children's left out."""
        return sum(n for (owner, _), n in self.macs.items() if owner == name)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not hasattr(func, "_overloadpacket"):
            self.uncounted[str(func)] += 1
            return func(*args, **kwargs)
        packet, name = func._overloadpacket, func._schema.name
        known = name in _FORMULAS or packet in flop_registry
        if not known and not _light(func, name):
            with self:
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
            self.uncounted[name.replace("::", ".")] += 1
            return func(*args, **kwargs)
        out = func(*args, **kwargs)
        if known:
            self._count(packet, name, args, kwargs, out)
        elif name in ("aten::mul", "aten::mul_", "aten::addcmul"):
            self._outer(name, args, out)
        return out

    def _count(self, packet: Any, name: str, args: Any, kwargs: Any, out: Any) -> None:
        tensors = [t for t in tree_leaves((args, kwargs)) if torch.is_tensor(t)]
        try:
            if any(t.layout not in (torch.strided, torch._mkldnn) for t in tensors):  # type: ignore[attr-defined]
                raise TypeError("sparse")
            if name in _FORMULAS:
                macs = int(_FORMULAS[name](args, out))
            else:
                macs = int(flop_registry[packet](*args, **kwargs, out_val=out)) // 2
        except Exception:
            # a layout or an overload that the formula does not know
            self.uncounted[name.replace("::", ".")] += 1
            return
        if sum(t.is_complex() for t in tensors) > 1:
            macs *= 4  # real ones of a complex one
        if macs:
            self.macs[self.inside[-1], name.replace("::", ".")] += macs

    def _outer(self, name: str, args: Any, out: torch.Tensor) -> None:
        """A product that is larger than both of its factors is an outer one, as in a matrix product written out."""
        factors = [t.numel() for t in args[-2:] if torch.is_tensor(t)]
        if len(factors) == 2 and out.numel() > max(factors) and (out.is_floating_point() or out.is_complex()):
            self.macs[self.inside[-1], "outer product"] += out.numel()


def _light(func: Any, name: str) -> bool:
    space, _, base = name.partition("::")
    base = base.removesuffix("_") if not base.startswith("__") else base
    if space == "quantized":
        return base in _LIGHT_QUANTIZED
    if space in ("prim", "profiler"):
        return True
    if space != "aten":
        return False
    if base in _LIGHT or base.removesuffix("_backward") in _LIGHT or base.startswith("_foreach_"):
        return True
    if {torch.Tag.pointwise, torch.Tag.inplace_view} & set(func.tags) or base.endswith("_copy"):
        return True
    return any(a.alias_info is not None and not a.alias_info.is_write for a in func._schema.arguments)


class _Outside(TorchFunctionMode):
    """Notices tensors that leave torch, whose further use cannot be counted."""

    def __init__(self, count: Count) -> None:
        super().__init__()
        self.count = count

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.Tensor.numpy, torch.Tensor.__array__, torch.Tensor.__dlpack__):
            self.count.uncounted["Tensor.numpy"] += 1
        return func(*args, **(kwargs or {}))


@contextmanager
def as_found(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards modes, buffers and the generators of torch are as they were."""
    modes = {m: m.training for m in model.modules()}
    buffers = [(b, b.detach().clone()) for b in model.buffers() if not b.is_meta]
    with torch.random.fork_rng(), torch.no_grad():
        model.eval()
        try:
            yield
        finally:
            for module, training in modes.items():
                module.training = training
            for buffer, before in buffers:
                if not buffer.is_inference() or torch.is_inference_mode_enabled():
                    buffer.copy_(before)


def call(model: nn.Module, batch: Any, **more: Any) -> Any:
    """Call the model: a dict gives keywords, a tuple or list arguments, anything else one argument."""
    if isinstance(batch, dict):
        return model(**batch, **more)
    return model(*batch, **more) if isinstance(batch, tuple | list) else model(batch, **more)


def device_of(model: nn.Module) -> torch.device:
    """Return the device of the model's parameters; the CPU where it has none."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def own_example(model: nn.Module) -> Any:
    """The input of one image, of a model that says which it takes: a diffusers ``UNet2DModel``."""
    diffusers: Any = sys.modules.get("diffusers")  # a model of it cannot be here without it
    if diffusers is None or not isinstance(model, diffusers.UNet2DModel):
        return None
    c: Any = model.config
    size = c["sample_size"] or 32
    height, width = (size, size) if isinstance(size, int) else size
    image = torch.zeros(1, c["in_channels"], height, width, dtype=next(model.parameters()).dtype)
    labels = torch.zeros(1, dtype=torch.long) if c.get("num_class_embeds") else None
    return (image, 1) if labels is None else (image, 1, labels)


def on_device(batch: Any, device: torch.device) -> Any:
    """Return nested arguments with their tensors on a device."""
    if torch.is_tensor(batch):
        return batch.to(device)
    if isinstance(batch, dict):
        return {k: on_device(v, device) for k, v in batch.items()}
    return tuple(on_device(v, device) for v in batch) if isinstance(batch, tuple | list) else batch


@contextmanager
def _unfused() -> Iterator[None]:
    """Without oneDNN and cuDNN, whose recurrent layers are one operation, and the fused transformer layers."""
    # the public context managers of these switches touch others, which warn
    switches: tuple[tuple[Callable[[], bool], Callable[[Any], None]], ...] = (
        (torch._C._get_mkldnn_enabled, torch._C._set_mkldnn_enabled),
        (torch._C._get_cudnn_enabled, torch._C._set_cudnn_enabled),
        (torch.backends.mha.get_fastpath_enabled, torch.backends.mha.set_fastpath_enabled),
    )
    before = [get() for get, _ in switches]
    try:
        for _, put in switches:
            put(False)
        yield
    finally:
        for (_, put), was in zip(switches, before, strict=True):
            put(was)


def counted(model: nn.Module, batch: Any, **more: Any) -> tuple[Count, Any]:
    """Count one call of the model and return its result; paths that fuse matrix products are off."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    count = Count()
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            continue  # takes no hooks

        def enter(_module: Any, _args: Any, name: str = name) -> None:
            count.inside.append(name)
            count.calls[name] += 1

        def leave(_module: Any, _args: Any, _output: Any) -> None:
            count.inside.pop()

        handles += [
            module.register_forward_pre_hook(enter),
            module.register_forward_hook(leave, always_call=True),
        ]
    try:
        with _unfused(), sdpa_kernel(SDPBackend.MATH), _Outside(count), count:
            result = call(model, batch, **more)
    finally:
        for handle in handles:
            handle.remove()
    return count, result


OTHER = "attention and other products"  #: name in the ledger of work that belongs to no layer
NETWORK = "network"  #: name in the ledger of the evaluations of the whole model, one for each image


@dataclass
class CrossbarContext:
    """The context of the converted layers of one model.

    Args:
        ledger: counts per layer, and per step where a run context says which.
        recording: whether the layers keep what they see, to choose ranges from; nothing is counted meanwhile.
        bypass: whether the layers compute as the float ones, to compare the models; nothing is counted.
        bucket: part of the diffusion's time axis that is being computed.
        call: how many times the model was called; keys the read noise where there is no run context.
        fixed: multiply-accumulates of digital work that no hook sees, by name, for an input of ``size`` numbers.
        size: of the input that ``fixed`` holds for.
    """

    ledger: Ledger = field(default_factory=lambda: Ledger("compute"))
    recording: bool = False
    bypass: bool = False
    bucket: int = 0
    call: int = 0
    uses: Counter[str] = field(default_factory=Counter)
    time_steps: int = 1000
    time_buckets: int = 1
    fixed: dict[str, int] = field(default_factory=dict)
    size: int = 1

    def begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before every call of the model: which bucket its time step lies in."""
        self.call += 1
        self.uses.clear()
        x = first_tensor(args, kwargs)
        if x is not None and not self.recording:
            self.ledger_of(NETWORK).count("evaluation", len(x))
            for name, macs in self.fixed.items():
                self.ledger_of(name).count("mac", round(macs * x.numel() / self.size))
        t = kwargs.get("timestep", args[1] if len(args) > 1 else None)
        if self.time_buckets > 1 and t is not None:
            times = {float(v) for v in torch.as_tensor(t).reshape(-1).tolist()}
            buckets = {min(int(v * self.time_buckets / self.time_steps), self.time_buckets - 1) for v in times}
            if len(buckets) > 1:
                raise InputError(
                    f"one batch holds time steps of the buckets {sorted(buckets)}, whose converter ranges differ; "
                    "compute images of one bucket at a time, or use time_buckets=1"
                )
            self.bucket = buckets.pop()

    def position(self, layer: str, images: int) -> tuple[tuple[int, ...], int]:
        """Return the address of the numbers that a layer draws now: an identifier per image, and a step."""
        context = current()
        use = self.uses[layer]
        self.uses[layer] += 1
        ids: tuple[int, ...] = tuple(range(images))
        if context is None:
            return ids, (self.call << 12) + use
        known = context.images
        if len(known) == images:
            ids = known
        elif len(known) and images % len(known) == 0:
            each = images // len(known)
            ids = tuple((i << 20) + k + 1 for i in known for k in range(each))
        return ids, (1 << 62) + (context.step << 12) + use

    def ledger_of(self, layer: str) -> Ledger:
        context = current()
        mine = self.ledger.child(layer)
        return mine if context is None else mine.child(f"step {context.step}")


def macs_of(module: Any, args: tuple[Any, ...], output: torch.Tensor) -> int:
    """Multiply-accumulates of one application of a linear layer or convolution."""
    w = module.weight
    over = args[0] if isinstance(module, nn.ConvTranspose2d) else output
    return int(over.numel() // w.shape[0] * w.numel())


@dataclass
class DigitalCount:
    """A hook that counts the work of a layer that stays digital.

    Args:
        context: whose ledger.
        name: of the layer.
    """

    context: CrossbarContext
    name: str

    def __call__(self, module: Any, args: tuple[Any, ...], output: torch.Tensor) -> None:
        if self.context.recording or self.context.bypass:
            return
        ledger = self.context.ledger_of(self.name)
        ledger.count("mac", macs_of(module, args, output))
        ledger.count("byte", args[0].numel() + 2 * output.numel())
