"""The contract of a source, on the software baseline."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voltaspin.core.errors import InputError
from voltaspin.noise import Provenance, PseudoSource

PRECISIONS = ["full", 16, 12, 8]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_draw_depends_on_stream_and_step_alone(precision):
    source = PseudoSource(seed=1, precision=precision)
    ids = [7, 3, 2**63 - 1, 0]
    batch = source.normal((4, 2, 5), streams=ids, step=9)
    assert batch.dtype == np.float32
    other = PseudoSource(seed=1, precision=precision)
    for i in (2, 0, 3, 1):
        assert np.array_equal(other.normal((1, 2, 5), streams=ids[i : i + 1], step=9)[0], batch[i])
    # a longer draw begins with a shorter one of the same stream and step
    assert np.array_equal(source.normal((1, 300), streams=[7], step=9)[0, :10], batch[0].ravel())
    with ThreadPoolExecutor(4) as pool:
        rows = list(pool.map(lambda s: source.normal((1, 2, 5), streams=[s], step=9)[0], ids))
    assert np.array_equal(rows, batch)


def test_seeds_streams_and_steps_differ():
    draws = [
        PseudoSource(seed=s).normal((1, 500), streams=[stream], step=step).ravel()
        for s, stream, step in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 2**32 - 1), (0, 2**40, 0))
    ]
    correlation = np.corrcoef(draws)[np.triu_indices(6, 1)]
    assert np.abs(correlation).max() < 4.5 / np.sqrt(500)


def test_the_next_draw_of_a_stream_counts_from_zero():
    source, again = PseudoSource(seed=1), PseudoSource(seed=1)
    first = source.normal((2, 6), streams=[4, 5])
    second = source.normal((2, 6), streams=[5, 8])
    source.normal((1, 6), streams=[5], step=40)  # random access leaves the count alone
    third = source.normal((1, 6), streams=[5])
    assert np.array_equal(first, again.normal((2, 6), streams=[4, 5], step=0))
    assert np.array_equal(second[0], again.normal((1, 6), streams=[5], step=1)[0])
    assert np.array_equal(second[1], again.normal((1, 6), streams=[8], step=0)[0])
    assert np.array_equal(third, again.normal((1, 6), streams=[5], step=2))


@given(sizes=st.lists(st.integers(0, 400), max_size=6), precision=st.sampled_from(PRECISIONS))
@settings(max_examples=30, deadline=None)
def test_the_sequence_does_not_depend_on_the_pieces(sizes, precision):
    whole = PseudoSource(seed=2, precision=precision).normal(sum(sizes))
    source = PseudoSource(seed=2, precision=precision)
    pieces = [source.normal((n,)) for n in sizes]
    assert np.array_equal(np.concatenate([np.empty(0, np.float32), *pieces]), whole)


@given(sizes=st.lists(st.integers(0, 300), min_size=1, max_size=6))
@settings(max_examples=30, deadline=None)
def test_bits_continue_each_other_and_the_first_is_the_highest(sizes):
    source = PseudoSource(seed=3)
    parts = [source.bits(n) for n in sizes]
    assert [p.size for p in parts] == [-(-n // 8) for n in sizes]
    joined = np.concatenate([np.unpackbits(p, count=n) for p, n in zip(parts, sizes, strict=True)])
    assert np.array_equal(np.packbits(joined), PseudoSource(seed=3).bits(sum(sizes)))
    assert source.ledger.totals().get("bit", 0) == sum(sizes)


def test_full_precision_refines_the_sixteen_bits():
    coarse = PseudoSource(seed=4, precision=16).normal((3, 1000), streams=range(3), step=5)
    fine = PseudoSource(seed=4).normal((3, 1000), streams=range(3), step=5)
    from scipy.special import ndtr

    # the quantiles lie in the same 1/65536: half of it from the middle, plus float32 rounding of z
    apart = np.abs(ndtr(fine.astype(float)) - ndtr(coarse.astype(float)))
    assert apart.max() <= 0.5 / 65536 + 1e-7
    assert len(np.unique(fine)) > 2990


@pytest.mark.parametrize("precision", PRECISIONS)
def test_state_continues_and_belongs_to_one_source(precision):
    source = PseudoSource(seed=5, precision=precision)
    source.normal(37), source.bits(5), source.normal((2, 3), streams=[8, 9])
    state = json.loads(json.dumps(source.state_dict()))
    expected = source.normal(11), source.bits(13), source.normal((1, 3), streams=[9])
    again = PseudoSource(seed=5, precision=precision)
    again.load_state_dict(state)
    got = again.normal(11), again.bits(13), again.normal((1, 3), streams=[9])
    assert all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True))
    with pytest.raises(InputError, match="another source"):
        PseudoSource(seed=6, precision=precision).load_state_dict(state)


def test_ledger_and_provenance():
    source = PseudoSource(seed=5, precision=16)
    source.normal((2, 28, 28), streams=[0, 1], step=0)
    assert source.ledger.totals() == {"bit": 2 * 784 * 16, "normal": 2 * 784, "lookup": 2 * 784}
    full = PseudoSource()
    full.normal(10)
    assert full.ledger.totals() == {"bit": 530, "normal": 10}
    assert source.addressable
    assert source.provenance.kind == "pseudo"
    assert str(source.provenance) == "pseudo: Philox4x32-10, 16-bit inverse-CDF normals, seed 5"
    assert json.loads(json.dumps(source.provenance.to_json()))["details"]["precision"] == 16
    assert "seed 5" in repr(source)
    with pytest.raises(InputError, match="provenance 'lottery' is unknown"):
        Provenance("lottery", "x")


def test_empty_draws():
    source = PseudoSource()
    assert source.normal((0, 3), streams=[], step=0).shape == (0, 3)
    assert source.normal((2, 0), streams=[1, 2]).shape == (2, 0)
    assert source.normal(0).shape == (0,)
    assert source.normal(()).shape == ()
    assert source.bits(0).size == 0


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (
            lambda s: s.normal((3, 2), streams=[1, 2], step=0),
            r"2 streams were given for an array of shape \(3, 2\)",
        ),
        (lambda s: s.normal((2, 2), streams=[1, 1]), "named twice"),
        (lambda s: s.normal((1, 2), streams=[-1], step=0), "stream -1 is outside"),
        (lambda s: s.normal((1, 2), streams=[2**63], step=0), "is outside"),
        (lambda s: s.normal((1, 2), streams=[1], step=-1), "step -1"),
        (lambda s: s.normal((1, 2), streams=[1], step=2**32), "use another stream"),
        (lambda s: s.normal((-1, 2)), "non-negative"),
        (lambda s: s.normal((1.5,)), "non-negative"),
        (lambda s: s.bits(-1), "number of bits -1"),
        (lambda s: PseudoSource(precision="half"), "'half' is unknown"),
        (lambda s: PseudoSource(precision=25), "25 bits is not offered"),
        (lambda s: PseudoSource(seed=-3), "seed -3"),
    ],
)
def test_bad_input_is_refused_and_costs_nothing(act, said):
    source = PseudoSource()
    with pytest.raises(InputError, match=said):
        act(source)
    assert source.ledger.totals() == {}
