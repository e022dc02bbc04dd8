"""The urn of a pixel's cells: against enumeration of all cells, and a toy whose answer is known."""

import itertools

import numpy as np
import pytest

from voltaspin.core.errors import InputError
from voltaspin.diffusion import inplace
from voltaspin.diffusion.inplace.plan import COIN, NONE, PROGRAMMED, TOGGLE, assign

ALPHA_BAR = np.array([0.95, 0.6, 0.2, 0.0])


def enumerated(process, k, t, u):
    """P(count at u, count at t | k clean ones), by a sum over all states of all cells: (N + 1, N + 1)."""
    n = process.cells
    clean = np.repeat([1, 0], [k, n - k])
    before = process.flip_probability(u)
    kept = process.kept(t) / process.kept(u) if process.kept(u) else 0.0
    states = np.array(list(itertools.product((0, 1), repeat=n)))
    joint = np.zeros((n + 1, n + 1))
    for at_u in states:
        weight = np.where(at_u == clean, 1 - before, before).prod()
        differ = (states != at_u).sum(1)
        flips = ((1 - kept) / 2) ** differ * ((1 + kept) / 2) ** (n - differ)
        np.add.at(joint[at_u.sum()], states.sum(1), weight * flips)
    return joint


@pytest.mark.parametrize("cells", [1, 2, 3, 4])
def test_marginal_and_posterior_are_those_of_all_cells(cells):
    process, counts = inplace.Process(ALPHA_BAR, cells), np.arange(cells + 1)
    for t, u in [(0, -1), (1, 0), (2, 0), (2, 1), (3, 2)]:
        for k in counts:
            joint = enumerated(process, int(k), t, u)
            assert joint.sum(0) == pytest.approx(process.marginal(int(k), t), abs=1e-13)
            for n in counts[joint.sum(0) > 0]:
                law = joint[:, n] / joint[:, n].sum()
                mean = law @ counts
                found = process.posterior(n, 2 * k / cells - 1, t, u)
                assert found[0] == pytest.approx(mean, abs=1e-12)
                assert found[1] == pytest.approx(law @ counts**2 - mean**2, abs=1e-12)
            average = process.marginal(int(k), t) @ process.variances(t, u)[k]
            assert average == pytest.approx(process.average_variance(t, u), abs=1e-12)


def test_the_networks_input_has_the_moments_of_the_gaussian_process():
    for cells in (1, 7, 31):
        process = inplace.Process(ALPHA_BAR, cells)
        levels = 2 * np.arange(cells + 1) / cells - 1
        for t, k in itertools.product(range(4), (0, cells // 2, cells)):
            x, law = process.scale(t) * levels, process.marginal(k, t)
            assert law @ x == pytest.approx(ALPHA_BAR[t] ** 0.5 * levels[k], abs=1e-12)
            assert law @ x**2 - (law @ x) ** 2 == pytest.approx(1 - ALPHA_BAR[t], abs=1e-12)


def moments(b, c, f, coin):
    return b + c * coin + f, c * coin * (1 - coin) + f * (1 - f)


@pytest.mark.parametrize("coin", [0.5, 0.494, 0.55])
def test_a_plan_has_the_mean_exactly_and_the_variance_on_average(coin):
    mean = np.repeat(np.linspace(0, 15, 61), 2000)
    wanted = np.full(mean.shape, 1.3)
    b, c, f = inplace.choose(mean, wanted, 15, coin=coin, step=3)
    found, variance = moments(b, c, f, coin)
    assert found == pytest.approx(mean, abs=1e-12)
    assert ((b >= 0) & (c >= 0) & (f >= 0) & (f < 1) & (b + c + (f > 0) <= 15)).all()
    inside = (mean > 4) & (mean < 11)  # where so large a variance fits
    for at in np.unique(mean[inside]):
        # the dither of 2,000 pixels is even to a few parts in 2,000 of the step between two plans, at most 1/2
        assert variance[mean == at].mean() == pytest.approx(1.3, abs=0.5 * 4 / 2000)
    nearest = moments(*inplace.choose(mean, wanted, 15, coin=coin, dither=False), coin)[1]
    off = {float(at): abs(nearest[mean == at].mean() - 1.3) for at in np.unique(mean[inside])}
    assert max(off.values()) > 0.05  # which the dither mends


def test_where_no_plan_fits_the_nearest_is_taken():
    b, c, f = inplace.choose([0.0, 0.3, 7.5, 15.0], [9.0, 9.0, 99.0, 0.0], 15)
    # a count near 0 has no room for a coin; fifteen coins are all that there is
    assert (b.tolist(), c.tolist()) == ([0, 0, 0, 15], [0, 0, 15, 0])
    assert f == pytest.approx([0.0, 0.3, 0.0, 0.0])


def test_every_cell_gets_the_role_of_the_plan():
    rng, cells = np.random.default_rng(0), 7
    seen = rng.integers(0, 2, (5, cells, 400), dtype=np.uint8)
    mean = np.clip(seen.sum(1) + rng.normal(0, 0.5, (5, 400)), 0, cells)  # a step moves a count by little
    b, c, f = inplace.choose(mean, np.full(mean.shape, 0.9), cells, step=2)
    flips = np.repeat(np.linspace(0, 1, 9)[:, None], 2, 1)
    roles, errors = np.empty_like(seen), np.empty(4)
    assign(seen, b, c, f, flips, False, 2, roles, errors)
    assert ((roles == COIN).sum(1) == c).all()
    alone = np.where((roles == NONE) | (roles == TOGGLE), seen ^ (roles == TOGGLE), 0)
    # a programmed cell may take no pulse where its level is 0; else what is left holds the certain ones
    programmed = (roles >= PROGRAMMED).sum(1)
    assert (programmed <= (f > 0)).all()
    pulsed = programmed == (f > 0)
    assert (alone.sum(1) == b)[pulsed].all()
    assert set(np.unique(alone.sum(1)[~pulsed] - b[~pulsed])) <= {0, 1}
    # coins take what would else have to be toggled, unless there are too few of them
    assert (roles == TOGGLE).sum() < 0.05 * (roles == COIN).sum()
    # the cells take turns: over seven steps every place serves alike
    served = np.zeros(cells)
    for step in range(70):
        assign(seen, b, c, f, flips, False, step, roles, errors)
        served += (roles != NONE).sum((0, 2))
    assert served.max() / served.min() < 1.1
    # given less wanted averages out by the dither
    assert abs(errors[0]) / errors[2] < 0.01 < errors[1] / errors[2]


def enumerated_toy(steps, *, certain):
    """Distance of the images of a whole reverse chain from their law: a pixel of 4 cells, a perfect network.

    The clean counts have three likely values, so that a prediction in the middle is never a clean pixel.
    """
    cells, clean_law = 4, np.array([0.4, 0.1, 0.05, 0.15, 0.3])
    counts = np.arange(cells + 1)
    levels = 2 * counts / cells - 1
    process = inplace.Process(np.cos(np.pi / 2 * np.arange(1, steps + 1) / steps) ** 2, cells)
    law = np.array([1, 4, 6, 4, 1]) / 16  # four fair coins
    for t in range(steps - 1, 0, -1):
        prediction, square = moments_of_clean(process, clean_law, levels, t)
        uncertainty = 0.0 if certain else square - prediction**2
        mean, variance = process.posterior(counts, prediction, t, t - 1, uncertainty=uncertainty)
        turned = np.zeros(cells + 1)
        for n in counts:
            for (b, c, f), share in plans(mean[n], variance[n], cells).items():
                after = np.array([1 - f, f])
                for _ in range(c):
                    after = np.convolve(after, [0.5, 0.5])
                turned += law[n] * share * np.pad(after, (b, cells))[: cells + 1]
        law = turned
    # what is written is the prediction of the last evaluation, here as one of the five levels
    prediction, _ = moments_of_clean(process, clean_law, levels, 0)
    written = np.bincount(np.round((prediction + 1) * cells / 2).astype(int), law, minlength=cells + 1)
    return 0.5 * np.abs(written - clean_law).sum()


def moments_of_clean(process, clean_law, levels, t):
    evidence = np.array([process.marginal(k, t) for k in range(len(levels))]) * clean_law[:, None]
    given = evidence / evidence.sum(0)
    return levels @ given, levels**2 @ given


def plans(mean, variance, cells):
    """The two plans between which the dither chooses, each with its share."""
    made = {}
    for step in range(100):
        b, c, f = (v[()] for v in inplace.choose(mean, variance, cells, step=step))
        made[int(b), int(c), float(f)] = made.get((int(b), int(c), float(f)), 0) + 0.01
    return made


def test_the_toy_of_one_pixel_comes_out_with_its_law():
    # mixing the exact posteriors of all clean counts, instead of a plan, is 0.06 and 0.004 off at 10 and 40 steps
    known = [enumerated_toy(steps, certain=False) for steps in (10, 20, 40)]
    assert max(known) < 0.06
    # a step that takes the prediction for the clean pixel has too little variance where that is uncertain
    assert min(enumerated_toy(steps, certain=True) for steps in (10, 40)) > 0.15


def test_an_uncertain_pixel_has_the_variance_of_the_mixture():
    process, counts = inplace.Process(ALPHA_BAR, 4), np.arange(5)
    for low, high, share in [(0, 4, 0.5), (1, 3, 0.5), (0, 3, 0.2)]:
        means, variances = zip(*(process.posterior(counts, 2 * k / 4 - 1, 2, 1) for k in (low, high)), strict=True)
        mixed = (1 - share) * means[0] + share * means[1]
        exact = (1 - share) * (variances[0] + means[0] ** 2) + share * (variances[1] + means[1] ** 2) - mixed**2
        clean = (1 - share) * (low / 2 - 1) + share * (high / 2 - 1)
        spread = share * (1 - share) * ((high - low) / 2) ** 2
        mean, variance = process.posterior(counts, clean, 2, 1, uncertainty=spread)
        assert mean == pytest.approx(mixed, abs=1e-12)
        # exact for two values as far below as above the mean, or one of them at the end of the range
        assert variance == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: inplace.Process(ALPHA_BAR, 0), "cells = 0 of a pixel: give a whole number from 1 to 255"),
        (lambda: inplace.Process(ALPHA_BAR, 300), "cells = 300"),
        (lambda: inplace.Process([0.2, 0.5], 3), "alpha_bar must fall"),
        (lambda: inplace.Process([1.2, 0.5], 3), "alpha_bar must fall"),
        (lambda: inplace.Process([np.nan, 0.5], 3), "alpha_bar must fall"),
        (lambda: inplace.Process(ALPHA_BAR, 3).kept(4), "t = 4 is no time"),
        (lambda: inplace.Process(ALPHA_BAR, 3).posterior([1], [0.0], 1, 1), "t = 1 to u = 1"),
        (lambda: inplace.Process(ALPHA_BAR, 3).marginal(4, 1), "k = 4 ones of 3 cells"),
        (lambda: inplace.choose([3.5], [0.1], 3), "counts? from 0 to 3"),
        (lambda: inplace.choose([1.5], [-0.1], 3), "not negative"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers")
def test_a_step_of_second_order_is_that_of_diffusers():
    torch, diffusers = pytest.importorskip("torch"), pytest.importorskip("diffusers")
    scheduler = diffusers.DPMSolverMultistepScheduler(
        num_train_timesteps=1000, beta_schedule="linear", algorithm_type="sde-dpmsolver++", solver_order=2,
        prediction_type="sample", lower_order_final=False, timestep_spacing="leading",
    )  # fmt: skip
    scheduler.set_timesteps(20)
    process = inplace.Process(scheduler.alphas_cumprod.double().numpy(), 31)
    times = [int(t) for t in scheduler.timesteps]
    draw, quiet = torch.Generator().manual_seed(0), torch.zeros(1, 64, dtype=torch.float64)
    x = torch.randn(1, 64, generator=draw, dtype=torch.float64)
    outputs = [torch.rand(1, 64, generator=draw, dtype=torch.float64) - 0.5 for _ in range(8)]
    for i, output in enumerate(outputs):
        t, u = times[i], times[i + 1]
        theirs = scheduler.step(output, t, x, variance_noise=quiet).prev_sample
        aim = output.numpy()
        if i:
            aim = process.extrapolated(aim, outputs[i - 1].numpy(), times[i - 1], t, u)
        counts = 31 * (1 + x.numpy() / process.scale(t)) / 2
        ours = process.scale(u) * (2 * process.posterior_mean(counts, aim, t, u) / 31 - 1)
        assert np.abs(ours - theirs.numpy()).max() < 1e-5  # diffusers keeps its schedule in single precision
        x = theirs


def test_a_solver_of_another_order_and_times_that_do_not_fall_are_refused():
    process = inplace.Process([0.9, 0.5, 0.2], 3)
    one = np.zeros(1)
    assert process.extrapolated(one + 0.9, one, 2, 1, 0) == 1.0  # no pixel lies beyond white
    for times in ((1, 2, 0), (2, 1, -1), (3, 1, 0)):
        with pytest.raises(InputError, match="falling times"):
            process.extrapolated(one, one, *times)
    with pytest.raises(InputError, match="order=3"):
        inplace.InPlaceOptions(order=3)
