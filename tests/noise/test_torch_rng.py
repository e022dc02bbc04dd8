"""PyTorch and diffusers, unmodified, on numbers of a source."""

import numpy as np
import pytest
import torch
from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel
from diffusers.utils.torch_utils import randn_tensor
from scipy import stats

from voltaspin.core.errors import InputError, NoiseExhaustedError
from voltaspin.core.ledger import Ledger
from voltaspin.noise import MemorySource, Provenance, PseudoSource
from voltaspin.noise.source import SequentialSource

CHANCE = 2 * stats.norm.sf(4.5)  # of a false alarm of one test


class Tape(SequentialSource):
    """So many bits in order."""

    name = "tape"
    provenance = Provenance("recorded", "a tape")

    def __init__(self, bits):
        super().__init__()
        self.ledger = Ledger("tape")
        self.left, self.pseudo = bits, PseudoSource(seed=77)

    @property
    def bits_left(self):
        return self.left

    def _packed(self, n):
        self.left -= n
        return self.pseudo.bits(n)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def pseudo(shape, *, streams=None, step=None, seed=1):
    return PseudoSource(seed=seed).normal(shape, streams=streams, step=step)


def same(tensor, array):
    return np.array_equal(tensor.double().numpy(), np.asarray(array).astype(np.float64))


# --- plain torch ---------------------------------------------------------------------------------------------

NORMALS = {
    "randn": lambda n: torch.randn(n, 3),
    "randn(generator=None)": lambda n: torch.randn((n, 3), generator=None),
    "randn_like": lambda n: torch.randn_like(torch.empty(n, 3)),
    "normal_": lambda n: torch.empty(n, 3).normal_(),
    "init": lambda n: torch.nn.init.normal_(torch.nn.Parameter(torch.empty(n, 3))).detach(),
    "out": lambda n: torch.randn(n, 3, out=torch.empty(n, 3)),
    "normal size": lambda n: torch.normal(0.0, 1.0, (n, 3)),
    "normal mean": lambda n: torch.normal(torch.zeros(n, 3)),
    "normal both": lambda n: torch.normal(torch.zeros(n, 1), torch.ones(3)),
    "normal std": lambda n: torch.normal(0.0, torch.ones(n, 3), out=torch.empty(n, 3)),
}


@pytest.mark.parametrize("call", NORMALS)
def test_normals_are_the_sequence_of_the_source(call):
    with PseudoSource(seed=1).drive_torch() as driven:
        first, second = NORMALS[call](4), NORMALS[call](5)
    assert same(torch.cat([first, second]), pseudo((9, 3)))
    assert (driven.served, driven.numbers, driven.streams, driven.passed) == (2, 27, {}, {})


def test_mean_and_deviation():
    mean, std = torch.arange(4.0), torch.tensor([[0.5], [2.0]])
    z = torch.from_numpy(pseudo((2, 4)))
    with PseudoSource(seed=1).drive_torch():
        assert torch.equal(torch.normal(mean, std), z * std + mean)
    with PseudoSource(seed=1).drive_torch():
        assert torch.equal(torch.empty(2, 4).normal_(3, 0.1), z * 0.1 + 3)
    with PseudoSource(seed=1).drive_torch():
        assert torch.equal(torch.normal(-1.0, 4.0, (2, 4)), z * 4 - 1)
    trainable = torch.zeros(2, 4, requires_grad=True)
    with PseudoSource(seed=1).drive_torch():
        torch.normal(trainable * 3, 1.0).sum().backward()
    assert torch.equal(trainable.grad, torch.zeros(2, 4))  # torch gives no derivative to the mean of a draw


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_type_asked_for_is_the_type_given(dtype):
    z = torch.from_numpy(pseudo(50)).to(dtype)
    with PseudoSource(seed=1).drive_torch():
        drawn = torch.randn(50, dtype=dtype, requires_grad=True)
    assert drawn.requires_grad
    assert drawn.is_leaf
    assert drawn.dtype == dtype
    assert torch.equal(drawn.detach(), z)


def test_the_default_type_and_inference_mode_hold():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with PseudoSource(seed=1).drive_torch():
            assert torch.randn(3).dtype == torch.float64
    finally:
        torch.set_default_dtype(before)
    with torch.inference_mode(), PseudoSource(seed=1).drive_torch():
        assert same(torch.randn(3), pseudo(3))


def test_strides_do_not_change_the_order():
    wide = torch.zeros(4, 6)
    with PseudoSource(seed=1).drive_torch():
        wide[:, ::2].normal_()
    assert same(wide[:, ::2], pseudo((4, 3)))
    assert not wide[:, 1::2].any()
    last = torch.empty(2, 3, 4, 4).to(memory_format=torch.channels_last)
    with PseudoSource(seed=1).drive_torch():
        drawn = torch.randn_like(last)
    assert drawn.stride() == last.stride()
    assert same(drawn, pseudo((2, 3, 4, 4)))


def test_complex_normals_have_unit_power():
    with PseudoSource(seed=1).drive_torch():
        z = torch.randn(3, 4, dtype=torch.complex64)
    parts = torch.from_numpy(pseudo((3, 4, 2)))
    assert torch.equal(torch.view_as_real(z), parts * 0.5**0.5)


@pytest.mark.parametrize(
    ("dtype", "size", "digits"),
    [(torch.bfloat16, 1, 8), (torch.float16, 2, 11), (torch.float32, 3, 24), (torch.float64, 7, 53)],
)
def test_uniform_numbers_are_the_first_digits_of_the_bits(dtype, size, digits):
    packed = PseudoSource(seed=1).bits(8 * size * 60).tobytes()
    whole = [int.from_bytes(packed[size * i : size * (i + 1)], "big") >> 8 * size - digits for i in range(60)]
    with PseudoSource(seed=1).drive_torch() as driven:
        drawn = torch.cat(
            [
                torch.rand(20, dtype=dtype),
                torch.rand_like(torch.empty(20, dtype=dtype)),
                torch.empty(20, dtype=dtype).uniform_(),
            ]
        )
    assert drawn.dtype == dtype
    assert drawn.double().tolist() == [k / 2**digits for k in whole]
    assert (driven.served, driven.numbers) == (3, 60)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_a_uniform_interval_is_half_open_and_even(dtype):
    with PseudoSource(seed=1).drive_torch():
        drawn = torch.empty(200_000, dtype=dtype).uniform_(-3, 5).float()
    assert drawn.min() >= -3
    assert drawn.max() < 5
    assert stats.chisquare(np.histogram(drawn.numpy(), 8, (-3, 5))[0]).pvalue > CHANCE


def test_normals_follow_their_distribution():
    with PseudoSource(seed=1).drive_torch():
        drawn = torch.randn(200_000, generator=seeded(4))
    assert stats.kstest(drawn.numpy(), stats.norm().cdf).pvalue > CHANCE


# --- what is not served ---------------------------------------------------------------------------------------


REFUSED = {
    "poisson": lambda: torch.poisson(torch.full((5,), 9.0)),
    "_standard_gamma": lambda: torch.distributions.Gamma(2.0, 1.0).sample((5,)),
    "binomial": lambda: torch.binomial(torch.full((5,), 9.0), torch.full((5,), 0.5)),
    "_sample_dirichlet": lambda: torch._sample_dirichlet(torch.ones(5)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_source_serves_is_refused_or_left_to_torch_by_name(name):
    with PseudoSource(seed=1).drive_torch() as driven, pytest.raises(InputError, match=rf"allow=\['{name}'\]"):
        REFUSED[name]()
    assert not driven.passed

    def draw():
        torch.manual_seed(11)
        first = REFUSED[name]()
        torch.randn(3)
        return first, REFUSED[name]()

    torch.manual_seed(11)
    plain = REFUSED[name](), REFUSED[name]()
    with PseudoSource(seed=1).drive_torch(allow=[name]) as driven:
        inside = draw()
    assert all(torch.equal(a, b) for a, b in zip(plain, inside, strict=True))
    assert driven.passed == {name: 2}
    assert driven.served == 1
    assert f"not served, drawn by PyTorch's own generator: {name} (2)" in str(driven)
    with pytest.raises(InputError, match="'poison', which is no operation"):
        PseudoSource(seed=1).drive_torch(allow="poison")


def test_attention_and_dropout_that_are_off_are_no_draws():
    q = torch.ones(1, 1, 4, 8)
    with PseudoSource(seed=1).drive_torch() as driven:
        torch.nn.functional.scaled_dot_product_attention(q, q, q)
        torch.native_dropout(q, 0.5, train=False)
        torch.randn(3, device="meta")
        torch.randint(9, (3,), device="meta")
        torch.randn(0, generator=seeded(2))
    assert not driven.passed
    assert driven.served == 0
    with PseudoSource(seed=1).drive_torch() as driven:
        torch.nn.functional.scaled_dot_product_attention(q, q, q, dropout_p=0.5)
        torch.native_dropout(q, 0.5, train=True)
    assert driven.served >= 2
    assert not driven.passed


def test_what_torch_refuses_is_refused_in_its_words():
    with PseudoSource(seed=1).drive_torch() as driven:
        with pytest.raises(RuntimeError, match="std"):
            torch.empty(3).normal_(0, -1)
        with pytest.raises(RuntimeError, match="std"):
            torch.normal(0.0, torch.tensor([1.0, -1.0]))
        with pytest.raises(RuntimeError, match="from"):
            torch.empty(3).uniform_(2, 1)
        with pytest.raises(RuntimeError, match="not implemented"):
            torch.randn(3, dtype=torch.int64)
        with pytest.raises(RuntimeError, match="leaf"):
            torch.zeros(3, requires_grad=True).normal_()
        assert same(torch.randn(4), pseudo(4))
    assert driven.served == 1


# --- generators ----------------------------------------------------------------------------------------------


def test_a_generator_is_a_stream_that_counts_its_steps():
    g = seeded(5)
    with PseudoSource(seed=1).drive_torch() as driven:
        first, second = torch.randn(1, 6, generator=g), torch.empty(6).normal_(generator=g)
        other = torch.randn(2, 3, generator=seeded(5))
        torch.randn(6)
        g.manual_seed(5)
        again = torch.randn(6, generator=g)
        g.manual_seed(6)
        sixth = torch.randn(6, generator=g)
    assert same(first, pseudo((1, 6), streams=[5], step=0))
    assert same(second, pseudo((1, 6), streams=[5], step=1)[0])
    assert same(other.view(1, 6), first)
    assert same(again, first[0])
    assert same(sixth, pseudo((1, 6), streams=[6], step=0)[0])
    assert driven.streams == {5: 4, 6: 1}
    assert (driven.served, driven.numbers) == (6, 36)


def test_a_generator_goes_on_in_the_next_block_and_with_other_draws_between():
    g = seeded(5)
    drawn = []
    for _ in range(3):
        with PseudoSource(seed=1).drive_torch():
            torch.randint(9, (3,), generator=g)
            drawn.append(torch.randn(6, generator=g))
        torch.randn(3, generator=g)
    for block, z in enumerate(drawn):  # the integers are a step of their own
        assert same(z, pseudo((1, 6), streams=[5], step=2 * block + 1)[0])


def test_the_seeded_default_generator_is_a_generator():
    with PseudoSource(seed=1).drive_torch():
        drawn = torch.randn(6, generator=torch.manual_seed(8))
    assert same(drawn, pseudo((1, 6), streams=[8], step=0)[0])


def test_generators_that_come_and_go_start_at_their_first_step():
    with PseudoSource(seed=1).drive_torch():
        for _ in range(300):  # the memory of a dead one is used again
            assert same(torch.randn(2, generator=seeded(5)), pseudo((1, 2), streams=[5], step=0)[0])


def test_a_generator_of_unknown_standing_is_refused():
    g = seeded(5)
    torch.randn(3, generator=g)
    with PseudoSource(seed=1).drive_torch() as driven:
        with pytest.raises(InputError, match=r"seed 5 has drawn outside of drive_torch.*manual_seed\(5\)"):
            torch.randn(3, generator=g)
        with pytest.raises(InputError, match="names no stream"):
            torch.randn(3, generator=seeded(-1))
    assert driven.served == 0


def test_uniform_numbers_of_a_generator_do_not_depend_on_the_batch():
    source = PseudoSource(seed=1)
    with source.drive_torch() as driven:
        a, b = seeded(5), seeded(6)
        together = [torch.rand(40, generator=g) for _ in range(2) for g in (a, b)]
    assert driven.streams == {5: 2, 6: 2}
    assert source.ledger.totals()["bit"] == 4 * 40 * 24
    with PseudoSource(seed=1).drive_torch():
        torch.rand(17)
        b = seeded(6)
        alone = [torch.rand(40, generator=b) for _ in range(2)]
    assert torch.equal(torch.cat(alone), torch.cat(together[1::2]))
    assert len(torch.cat(together).unique()) > 150  # 160 numbers of 24 digits, not four times the same
    with PseudoSource(seed=1).drive_torch():
        many = torch.rand(100_000, generator=seeded(3))
    assert stats.kstest(many.numpy(), stats.uniform().cdf).pvalue > CHANCE


def test_uniform_numbers_of_a_generator_are_counted_once(memory):
    source, other = MemorySource(memory=memory()), MemorySource(memory=memory())
    with source.drive_torch():
        torch.rand(10, generator=seeded(5))
    other.bits(240)
    assert source.ledger.totals() == other.ledger.totals()


def test_a_sequential_source_hands_out_what_comes_next():
    with Tape(10_000).drive_torch() as driven:
        a, b, u = torch.randn(4, generator=seeded(5)), torch.randn(5, generator=seeded(5)), torch.rand(2)
    numbers = Tape(10_000)
    assert same(torch.cat([a, b]), numbers.normal(9))
    assert (u.double() * 2**24).tolist() == [int.from_bytes(numbers.bits(24).tobytes(), "big") for _ in range(2)]
    assert driven.served == 3
    assert driven.streams == {}


def test_a_source_that_runs_dry_says_so_itself():
    held, g = torch.full((20,), 7.0), seeded(5)
    with Tape(16 * 10).drive_torch() as driven:
        torch.randn(10, generator=g)
        with pytest.raises(NoiseExhaustedError, match="tape has run dry: the draw needs 320 bits and 0 are left"):
            held.normal_(generator=g)
        with pytest.raises(NoiseExhaustedError):
            torch.rand(1)
    assert torch.equal(held, torch.full((20,), 7.0))
    assert (driven.served, driven.numbers) == (1, 10)


# --- blocks ---------------------------------------------------------------------------------------------------


def test_the_inner_block_serves_and_the_outer_resumes():
    with PseudoSource(seed=1).drive_torch() as outer:
        first = torch.randn(3)
        with PseudoSource(seed=2).drive_torch() as inner:
            between, stream = torch.randn(3), torch.randn(3, generator=seeded(4))
        second = torch.randn(3)
    assert same(torch.cat([first, second]), pseudo(6))
    assert same(between, pseudo(3, seed=2))
    assert same(stream, pseudo((1, 3), streams=[4], step=0, seed=2)[0])
    assert (outer.served, inner.served) == (2, 2)
    assert not outer.passed
    assert not inner.passed


def test_one_block_can_be_entered_again():
    driven = PseudoSource(seed=1).drive_torch()
    with driven:
        first = torch.randn(3)
        with driven:
            second = torch.randn(3)
        third = torch.randn(3)
    with driven:
        fourth = torch.randn(3)
    assert same(torch.cat([first, second, third, fourth]), pseudo(12))
    assert driven.served == 4


def test_nothing_changes_outside_of_the_block():
    torch.manual_seed(3)
    plain = torch.randn(6), torch.rand(6)
    torch.manual_seed(3)
    with PseudoSource(seed=1).drive_torch():
        torch.randn(5)
        torch.rand(5)
        torch.randn(5, generator=seeded(5))
    with pytest.raises(ZeroDivisionError), PseudoSource(seed=1).drive_torch():
        _ = 1 / 0
    assert torch.equal(torch.randn(6), plain[0])
    assert torch.equal(torch.rand(6), plain[1])


def test_the_report_names_the_source():
    with PseudoSource(seed=1).drive_torch() as driven:
        torch.randn(1000, generator=seeded(3))
        torch.randn(1000, generator=seeded(4))
    assert str(driven) == f"2 draws, 2,000 numbers, 2 streams from {PseudoSource(seed=1).provenance}"


# --- diffusers, unmodified --------------------------------------------------------------------------------------

STEPS = 4
SHAPE = (3, 8, 8)


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    return UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
    ).eval()


def pipeline(unet, kind):
    made = (
        DDPMPipeline(unet, DDPMScheduler(num_train_timesteps=100))
        if kind == "ddpm"
        else DDIMPipeline(unet, DDIMScheduler(num_train_timesteps=100))
    )
    made.set_progress_bar_config(disable=True)
    return made


def images(unet, kind, seeds, **options):
    with PseudoSource(seed=1).drive_torch() as driven:
        out = pipeline(unet, kind)(
            batch_size=len(seeds),
            generator=[seeded(i) for i in seeds],
            num_inference_steps=STEPS,
            output_type="np",
            **options,
        ).images
    return out, driven


@pytest.mark.parametrize(("kind", "options"), [("ddpm", {}), ("ddim", {"eta": 0.7}), ("ddim", {})])
def test_the_noise_of_an_image_is_the_same_in_any_batch(unet, kind, options):
    whole, driven = images(unet, kind, [0, 1, 2, 3, 4], **options)
    parts = [images(unet, kind, seeds, **options)[0] for seeds in ([3], [4, 1, 0], [2])]
    order = np.concatenate([parts[1][2:], parts[1][1:2], parts[2], parts[0], parts[1][:1]])
    # the noise is equal to the bit; the network rounds differently in another batch
    assert np.abs(whole - order).max() < 1e-5
    # one for the first latent and one for each step, but DDPM draws nothing at t = 0, nor DDIM without eta
    draws = {"ddpm": STEPS, "ddim": 1 + STEPS if options else 1}[kind]
    assert driven.streams == dict.fromkeys(range(5), draws)
    assert driven.numbers == 5 * draws * np.prod(SHAPE)
    assert driven.served == 5 * draws
    assert not driven.passed


def test_the_generator_of_a_batch_gets_the_bits_of_its_streams():
    for seeds in ([0, 1, 2], [2], [1, 0]):
        generators = [seeded(i) for i in seeds]
        with PseudoSource(seed=1).drive_torch():
            for step in range(3):
                drawn = randn_tensor((len(seeds), *SHAPE), generator=generators, dtype=torch.float32)
                assert same(drawn, pseudo((len(seeds), *SHAPE), streams=seeds, step=step))


def test_a_pipeline_equals_the_same_steps_with_noise_fed_by_hand(unet):
    driven, _ = images(unet, "ddpm", [7, 9])
    source, scheduler = PseudoSource(seed=1), DDPMScheduler(num_train_timesteps=100)
    scheduler.set_timesteps(STEPS)
    fed = [torch.from_numpy(source.normal((2, *SHAPE), streams=[7, 9], step=k)) for k in range(STEPS)]
    x = fed[0]
    for k, t in enumerate(scheduler.timesteps):
        with torch.no_grad():
            prediction = unet(x, t).sample
        # Ho et al. 2020, equations 6 and 7, with the clipped x0 of DDPMScheduler
        before = t - scheduler.config.num_train_timesteps // STEPS
        alpha_bar = scheduler.alphas_cumprod[t]
        alpha_bar_before = scheduler.alphas_cumprod[before] if before >= 0 else torch.tensor(1.0)
        alpha = alpha_bar / alpha_bar_before
        x0 = ((x - (1 - alpha_bar).sqrt() * prediction) / alpha_bar.sqrt()).clamp(-1, 1)
        mean = alpha_bar_before.sqrt() * (1 - alpha) / (1 - alpha_bar) * x0
        mean = mean + alpha.sqrt() * (1 - alpha_bar_before) / (1 - alpha_bar) * x
        variance = (1 - alpha_bar_before) / (1 - alpha_bar) * (1 - alpha)
        x = mean + (variance.sqrt() * fed[k + 1] if t > 0 else 0)
    by_hand = (x / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    assert np.abs(driven - by_hand).max() < 1e-4  # float32, four steps written in another order
    plain = pipeline(unet, "ddpm")(
        batch_size=2, generator=[seeded(7), seeded(9)], num_inference_steps=STEPS, output_type="np"
    ).images
    assert np.abs(driven - plain).max() > 0.05


def test_a_pipeline_without_a_generator_draws_the_sequence(unet):
    source = PseudoSource(seed=1)
    with source.drive_torch() as driven:
        pipeline(unet, "ddpm")(batch_size=3, num_inference_steps=STEPS, output_type="np")
    numbers = 3 * STEPS * int(np.prod(SHAPE))
    assert (driven.served, driven.numbers) == (STEPS, numbers)
    assert source.ledger.totals() == {"bit": 53 * numbers, "normal": numbers}


def test_a_tape_that_ends_stops_the_pipeline(unet):
    tape = Tape(16 * 3 * int(np.prod(SHAPE)))
    with tape.drive_torch() as driven, pytest.raises(NoiseExhaustedError, match="run dry"):
        pipeline(unet, "ddpm")(batch_size=1, num_inference_steps=STEPS, output_type="np")
    assert driven.served == 3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_the_numbers_are_the_same():
    g = torch.Generator("cuda").manual_seed(5)
    with PseudoSource(seed=1).drive_torch():
        drawn = [torch.randn(6, device="cuda", generator=g), torch.randn(6, device="cuda", generator=g)]
        free = torch.randn(6, device="cuda")
        g.manual_seed(5)
        again = torch.randn(6, device="cuda", generator=g)
        u = torch.rand(4, device="cuda")
    assert all(z.device.type == "cuda" for z in (*drawn, free, u))
    assert same(torch.stack(drawn).cpu(), [pseudo((1, 6), streams=[5], step=k)[0] for k in range(2)])
    assert torch.equal(again, drawn[0])
    assert same(free.cpu(), pseudo(6))
