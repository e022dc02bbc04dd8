"""Conditioners against their theory: rates, biases, slow oracles, and what they count."""

import hashlib
import json

import numpy as np
import pytest

from voltaspin.core.errors import InputError, NoiseExhaustedError
from voltaspin.noise import MemorySource, Peres, PseudoSource, Sha256, Toeplitz, VonNeumann, Xor, conditioned
from voltaspin.noise.source import Provenance, SequentialSource, aligned

# bits out per bit in, from the literature's formulas: p, von Neumann, Peres of depth 3, 5, 8
RATES = [(0.50, 0.250, 0.578, 0.763, 0.900), (0.45, 0.2475, 0.572, 0.756, 0.892), (0.40, 0.240, 0.556, 0.736, 0.871),
         (0.30, 0.210, 0.493, 0.658, 0.784)]  # fmt: skip


class Given(SequentialSource):
    """Bits that a test gives, to be had once, or coins of one probability for each lane without end."""

    def __init__(self, bits=None, *, p=None, seed=0, kind="recorded", lanes=None):
        super().__init__(name="given")
        self.kind = kind
        self.bits_, self.p, self.at = bits, None if p is None else np.atleast_1d(p), 0
        self.rng = np.random.default_rng(seed)
        self._cells = lanes or (1 if p is None else self.p.size)

    @property
    def n_cells(self):
        return self._cells

    @property
    def bits_left(self):
        return None if self.bits_ is None else self.bits_.size - self.at

    @property
    def provenance(self):
        return Provenance(self.kind, "given by a test")

    def _packed(self, n):
        if self.bits_ is None:
            assert n % self.p.size == 0
            return np.packbits(self.rng.random((n // self.p.size, self.p.size)) < self.p)
        self.at += n
        return np.packbits(self.bits_[self.at - n : self.at])

    def state_dict(self):
        return {**super().state_dict(), "at": self.at}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.at = state["at"]


def drawn(source, n):
    return np.unpackbits(source.bits(n), count=n)


def coins(n, p, seed=0):
    return (np.random.default_rng(seed).random(n) < p).astype(np.uint8)


@pytest.mark.parametrize(("p", "von_neumann", "three", "five", "eight"), RATES)
def test_rates_are_those_of_the_literature(p, von_neumann, three, five, eight):
    source = PseudoSource()
    assert VonNeumann(source).rate(p) == pytest.approx(von_neumann, abs=5e-5)
    for depth, rate in ((3, three), (5, five), (8, eight)):
        assert Peres(source, depth=depth).rate(p) == pytest.approx(rate, abs=6e-4)


@pytest.mark.parametrize("p", [0.5, 0.4, 0.3])
@pytest.mark.parametrize("make", [VonNeumann, lambda s: Peres(s, depth=1), lambda s: Peres(s, depth=3, block=2**18),
                                  lambda s: Peres(s, depth=5, block=2**18)])  # fmt: skip
def test_pairs_give_unbiased_bits_at_their_rate(make, p):
    n = 1 << 20
    source = make(Given(coins(n, p, seed=1)))
    out = []
    while True:
        try:
            out.append(drawn(source, 1000))
        except NoiseExhaustedError:
            break
    got = np.concatenate([*out, drawn(source, source.bits_left)])
    consumed = source.ledger.counts["raw"]
    assert consumed == n
    # the number of bits out is a sum over pairs of at most a few bits each; its spread is below sqrt(n)
    assert abs(got.size - n * source.rate(p)) < 4.5 * np.sqrt(n) * 0.75
    assert abs(got.mean() - 0.5) < 4.5 * 0.5 / np.sqrt(got.size)
    assert abs(np.mean(got[1:] ^ got[:-1]) - 0.5) < 4.5 * 0.5 / np.sqrt(got.size)


def test_von_neumann_works_cell_by_cell():
    p = np.array([0.2, 0.5, 0.7, 0.9] * 64)
    n = 400_000
    per_cell = drawn(VonNeumann(Given(p=p)), n)
    assert abs(per_cell.mean() - 0.5) < 4.5 * 0.5 / np.sqrt(n)
    across = drawn(VonNeumann(Given(p=p, lanes=1)), n)
    # pairs (0.2, 0.5) and (0.7, 0.9) of different cells: the share of ones is that of 10 among the unequal
    one, zero = 0.2 * 0.5 + 0.7 * 0.1, 0.8 * 0.5 + 0.3 * 0.9
    assert abs(across.mean() - one / (one + zero)) < 4.5 * 0.5 / np.sqrt(n)


def test_von_neumann_of_a_known_sequence():
    bits = np.array([0, 1, 1, 0, 1, 1, 0, 0, 1, 0, 0, 1], np.uint8)
    source = VonNeumann(Given(bits))
    assert drawn(source, 4).tolist() == [0, 1, 1, 0]


def peres(s, depth):
    if depth == 0 or len(s) < 2:
        return []
    pairs = [(s[2 * i], s[2 * i + 1]) for i in range(len(s) // 2)]
    own = [a for a, b in pairs if a != b]
    return [*own, *peres([a ^ b for a, b in pairs], depth - 1), *peres([a for a, b in pairs if a == b], depth - 1)]


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_peres_agrees_with_its_recursion(lanes, depth):
    rows = 64
    bits = coins(lanes * rows, 0.35, seed=lanes).reshape(rows, lanes)

    source = Peres(Given(bits.ravel(), lanes=lanes), depth=depth, block=rows)
    expected = [b for lane in range(lanes) for b in peres(bits[:, lane].tolist(), depth)]
    assert drawn(source, len(expected)).tolist() == expected


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("p", [0.45, 0.3])
def test_xor_leaves_the_bias_of_the_piling_up_lemma(k, p):
    n = 1 << 20
    source = Xor(Given(coins(k * n, p, seed=k)), k=k, independent=True)
    expected = 0.5 - (1 - 2 * p) ** k / 2
    assert abs(drawn(source, n).mean() - expected) < 4.5 * 0.5 / np.sqrt(n)
    assert source.bias(p) == pytest.approx(abs(expected - 0.5))


@pytest.mark.parametrize("lanes", [6, 48])
def test_xor_combines_the_cells_of_one_pulse(lanes):
    k, source = 3, Given(p=np.linspace(0, 1, lanes))
    twin = Given(p=np.linspace(0, 1, lanes))
    out = Xor(source, k=k)
    assert out.n_cells == lanes // k
    n = 8 * lanes * 10
    rows = drawn(twin, n).reshape(-1, k, lanes // k)
    assert np.array_equal(drawn(out, n // k), np.bitwise_xor.reduce(rows, axis=1).ravel())


def test_xor_of_raw_memory_is_the_memory_with_k(memory):
    array = memory(0.4, 0.55, slope=0.5, rows=32, columns=32)
    outside = Xor(MemorySource(memory=array, seed=3, k=1), k=2)
    inside = MemorySource(memory=array, seed=3, k=2)
    assert np.array_equal(outside.bits(10_000), inside.bits(10_000))


def test_toeplitz_is_the_product_with_its_matrix():
    n_in, n_out = 128, 37
    bits = coins(5 * n_in, 0.4)
    source = Toeplitz(Given(bits), H_min=0.9, n_in=n_in, n_out=n_out, epsilon=2.0**-20, seed=4)
    matrix = np.array([[source.diagonal[n_out - 1 - i + j] for j in range(n_in)] for i in range(n_out)])
    assert (matrix[1:, 1:] == matrix[:-1, :-1]).all()
    expected = (bits.reshape(5, n_in) @ matrix.T) % 2
    assert np.array_equal(drawn(source, 5 * n_out), expected.ravel())
    assert 0.3 < source.diagonal.mean() < 0.7


def test_the_leftover_hash_lemma_bounds_what_comes_out():
    assert Toeplitz(PseudoSource(), H_min=0.8, n_in=1024).n_out == int(1024 * 0.8 - 128)
    with pytest.raises(InputError, match=r"691 bits"):
        Toeplitz(PseudoSource(), H_min=0.8, n_in=1024, n_out=692)
    with pytest.raises(InputError, match="leave nothing"):
        Toeplitz(PseudoSource(), H_min=0.5, n_in=256)


def test_toeplitz_takes_the_bias_away():
    n = 1 << 20
    source = Toeplitz(Given(coins(2 * n, 0.3)), H_min=-np.log2(0.7))
    got = drawn(source, n // 2)
    assert abs(got.mean() - 0.5) < 4.5 * 0.5 / np.sqrt(got.size)


def test_sha_is_that_of_hashlib():
    bits = coins(4 * 640, 0.2)
    source = Sha256(Given(bits), H_min=0.5)
    assert source.n_in == 640
    expected = b"".join(hashlib.sha256(np.packbits(b).tobytes()).digest() for b in bits.reshape(4, 640))
    assert source.bits(1024).tobytes() == expected
    assert source.ledger.counts["hash"] == 4 * 2  # 640 bits and their padding are two blocks of 512
    with pytest.raises(InputError, match="from 640"):
        Sha256(PseudoSource(), H_min=0.5, n_in=632)


CHAINS = ["xor:2", "von-neumann", "peres:3", "toeplitz:0.9", "sha256:0.9", "xor:2,von-neumann", "peres:2,xor:2"]


@pytest.mark.parametrize("chain", CHAINS)
def test_chains_continue_in_any_pieces_and_after_a_restart(chain, memory):
    def build():
        return conditioned(MemorySource(memory=memory(0.4, 0.6, rows=32, columns=32), k=1), chain)

    if chain == "peres:2,xor:2":
        with pytest.raises(InputError, match="independent=True"):
            build()
        return
    whole = drawn(build(), 30_000)
    source, parts = build(), []
    for n in (1, 7, 64, 9928, 20_000):
        parts.append(drawn(source, n))
        again = build()
        again.load_state_dict(json.loads(json.dumps(source.state_dict())))
        source = again
    assert np.array_equal(np.concatenate(parts), whole)
    chain_of = source.provenance.details["conditioning"]
    assert len(chain_of) == chain.count(",") + 1


def test_a_chain_counts_every_stage(memory):
    source = conditioned(MemorySource(memory=memory(rows=32, columns=32), k=1), "xor:2,von-neumann")
    source.bits(1000)
    raw = source.ledger.children["memory, raw, XOR of 2"]
    array = raw.children["memory, raw"]
    # what is handed to a user is counted once, at the end; the stages between count what they consume
    assert source.ledger.total("bit") == source.ledger.counts["bit"] == 1000
    assert array.total("pulse") == raw.counts["raw"] == 2 * raw.counts["xor"]
    assert raw.counts["raw"] == 2 * source.ledger.counts["raw"] == 4 * source.ledger.counts["xor"]


def test_a_source_that_runs_dry_loses_nothing():
    source = VonNeumann(Given(coins(4000, 0.5)))
    with pytest.raises(NoiseExhaustedError, match="made and kept"):
        source.bits(2000)
    left = source.bits_left
    assert 800 < left < 1200
    assert drawn(source, left).size == left
    fixed = Xor(Given(coins(4000, 0.5)), k=2, independent=True)
    assert fixed.bits_left == 4000 // 128 * 64  # whole bytes before and after, 128 bits at a time
    with pytest.raises(NoiseExhaustedError, match="2001"):
        fixed.bits(2001)


@pytest.mark.parametrize(("act", "said"), [
    (lambda: Xor(Given(coins(10, 0.5)), k=2), "independent=True"), (lambda: Xor(PseudoSource(), k=1), "k = 1"),
    (lambda: Xor(MemorySource(k=1), k=3), "divide"), (lambda: Peres(PseudoSource(), depth=0), "depth = 0"),
    (lambda: Peres(PseudoSource(), depth=5, block=16), "block = 16"),
    (lambda: Toeplitz(PseudoSource(), H_min=1.2), "H_min"), (lambda: Toeplitz(PseudoSource(), H_min=1, n_in=100), "64"),
    (lambda: Sha256(PseudoSource(), H_min=0), "H_min"), (lambda: conditioned(PseudoSource(), "bleach:2"), "bleach"),
    (lambda: conditioned(PseudoSource(), "sha256"), "needs a value of H_min"),
    (lambda: conditioned(PseudoSource(), "xor:many"), "give a number"),
])  # fmt: skip
def test_bad_input_is_refused(act, said):
    with pytest.raises(InputError, match=said):
        act()


def test_aligned_takes_any_stretch():
    bits = coins(100, 0.5)
    packed = np.packbits(bits)
    for skip in range(8):
        for n in (0, 1, 8, 63, 64, 92):
            assert np.array_equal(np.unpackbits(aligned(packed, skip, n), count=n), bits[skip : skip + n])
            assert n % 8 == 0 or aligned(packed, skip, n)[-1] & (0xFF >> n % 8) == 0


def test_a_finite_source_gives_all_it_has_behind_any_chain():
    for build in (VonNeumann, lambda s: Xor(VonNeumann(s), k=2, independent=True), lambda s: VonNeumann(VonNeumann(s))):
        bits = coins(20_000, 0.4)
        whole, pieces = build(Given(bits)), build(Given(bits))
        with pytest.raises(NoiseExhaustedError, match="nothing was handed out"):
            whole.bits(10_000)
        everything = drawn(whole, whole.bits_left)
        parts = []
        while True:
            try:
                parts.append(drawn(pieces, 100))
            except NoiseExhaustedError:
                break
        parts.append(drawn(pieces, pieces.bits_left))
        assert np.array_equal(np.concatenate(parts), everything)
        assert everything.size > 800
        assert whole.bits_at_most < 128  # less than the outermost takes at once


def test_numbers_that_cannot_be_had_lose_no_bits():
    source = VonNeumann(Given(coins(20_000, 0.5)))
    with pytest.raises(NoiseExhaustedError):
        source.normal(1000)
    kept = source.bits_left
    assert source.normal(kept // 16).size == kept // 16
