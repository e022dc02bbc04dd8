"""A source as NumPy's engine: NumPy's own generators fed with the same words, and what happens when words end."""

import copy
import inspect
import pickle
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import numpy as np
import pytest
from scipy import stats

from voltaspin.core.errors import InputError, NoiseExhaustedError, NoiseHealthError
from voltaspin.core.ledger import Ledger
from voltaspin.noise import MemorySource, NoiseSource, Provenance, PseudoSource, RecordedSource, SystemSource
from voltaspin.noise.health import HealthChecked
from voltaspin.noise.numpy_rng import BitGenerator

CHANCE = 2 * stats.norm.sf(4.5)  # of a false alarm of one test


class Words(NoiseSource):
    """Gives the words of NumPy's PCG64, then fails as told."""

    addressable = True
    bits_per_normal = 16
    provenance = Provenance("pseudo", "words of PCG64")

    def __init__(self, seed, *, size=None, fails=None):
        self.engine = np.random.PCG64(seed)
        self.name, self.ledger = "words", Ledger("words")
        self.size, self.fails = size, fails

    @property
    def bits_left(self):
        return self.size

    def _packed(self, n):
        if self.fails is not None:
            raise self.fails
        if self.size is not None:
            if n > self.size:
                raise NoiseExhaustedError("words has run dry")
            self.size -= n
        return self.engine.random_raw(n // 64).astype(">u8").view(np.uint8)

    def normal(self, shape, *, streams=None, step=None):
        raise NotImplementedError

    def state_dict(self):
        return {"engine": self.engine.state}

    def load_state_dict(self, state):
        self.engine.state = state["engine"]


class Watched(Words):
    """Sequential and health-checked, as an instrument."""

    addressable = False
    can_alarm = True


#: Every public method of a generator that draws, with words that it needs for sure below.
DRAWS = {
    "beta": lambda g: g.beta(0.5, 0.7, 900),
    "binomial": lambda g: g.binomial(40, 0.4, 900),
    "bytes": lambda g: g.bytes(7200),
    "chisquare": lambda g: g.chisquare(3, 900),
    "choice": lambda g: (g.choice(5000, 900), g.choice(5000, 900, replace=False), g.choice(9, 900, p=np.ones(9) / 9)),
    "dirichlet": lambda g: g.dirichlet([0.05, 2, 3], 900),
    "exponential": lambda g: (g.exponential(2, 900), g.exponential()),
    "f": lambda g: g.f(2, 3, 900),
    "gamma": lambda g: g.gamma(0.3, 2, 900),
    "geometric": lambda g: g.geometric(0.01, 900),
    "gumbel": lambda g: g.gumbel(0, 1, 900),
    "hypergeometric": lambda g: g.hypergeometric(500, 600, 200, 900),
    "integers": lambda g: [g.integers(100, size=900, dtype=t) for t in "bhilBHIL"],
    "laplace": lambda g: g.laplace(0, 1, 900),
    "logistic": lambda g: g.logistic(0, 1, 900),
    "lognormal": lambda g: g.lognormal(0, 1, 900),
    "logseries": lambda g: g.logseries(0.9, 900),
    "multinomial": lambda g: g.multinomial(50, [0.2, 0.3, 0.5], 900),
    "multivariate_hypergeometric": lambda g: (
        g.multivariate_hypergeometric([20, 30, 50], 40, 900),
        g.multivariate_hypergeometric([20, 30, 50], 40, 900, method="count"),
    ),
    "multivariate_normal": lambda g: g.multivariate_normal([0, 1], np.eye(2), 900),
    "negative_binomial": lambda g: g.negative_binomial(4, 0.3, 900),
    "noncentral_chisquare": lambda g: g.noncentral_chisquare(3, 2, 900),
    "noncentral_f": lambda g: g.noncentral_f(3, 5, 2, 900),
    "normal": lambda g: (g.normal(np.arange(900.0)), g.normal(size=900), g.normal()),
    "pareto": lambda g: g.pareto(3, 900),
    "permutation": lambda g: (g.permutation(900), g.permutation(np.eye(900, 2)), g.permutation(np.eye(2, 900), axis=1)),
    "permuted": lambda g: g.permuted(np.arange(1800).reshape(2, 900), axis=1),
    "poisson": lambda g: (g.poisson(3, 900), g.poisson(300, 900)),
    "power": lambda g: g.power(3, 900),
    "random": lambda g: (g.random(900), g.random(1800, np.float32), g.random()),
    "rayleigh": lambda g: g.rayleigh(1, 900),
    "shuffle": lambda g: (g.shuffle(np.arange(900)), g.shuffle(list(range(900))), g.shuffle(np.eye(900, 2))),
    "standard_cauchy": lambda g: g.standard_cauchy(900),
    "standard_exponential": lambda g: (g.standard_exponential(900, "f"), g.standard_exponential(900, method="inv")),
    "standard_gamma": lambda g: (g.standard_gamma(2, 900), g.standard_gamma(0.2, 900, "f")),
    "standard_normal": lambda g: (g.standard_normal(900), g.standard_normal(1800, np.float32)),
    "standard_t": lambda g: g.standard_t(3, 900),
    "triangular": lambda g: g.triangular(0, 1, 2, 900),
    "uniform": lambda g: (g.uniform(1, 2, 900), g.uniform()),
    "vonmises": lambda g: g.vonmises(0, 1, 900),
    "wald": lambda g: g.wald(1, 2, 900),
    "weibull": lambda g: g.weibull(2, 900),
    "zipf": lambda g: g.zipf(2.5, 900),
}


def flat(drawn):
    parts = drawn if isinstance(drawn, list | tuple) else [drawn]
    return b"".join(p if isinstance(p, bytes) else np.asarray(p).tobytes() for p in parts if p is not None)


def test_every_method_of_a_generator_is_listed():
    methods = {n for n, m in inspect.getmembers(np.random.Generator) if not n.startswith("_") and callable(m)}
    assert methods - {"spawn"} == set(DRAWS)


@pytest.mark.parametrize("method", DRAWS)
def test_numpys_own_generator_on_the_same_words_draws_the_same(method):
    ours, numpys = np.random.Generator(BitGenerator(Words(5))), np.random.default_rng(5)
    for _ in range(3):  # more words than one block in all, for most of them
        assert flat(DRAWS[method](ours)) == flat(DRAWS[method](numpys))
    assert ours.random() == numpys.random()


def test_shuffling_in_place_is_numpys():
    a, b = np.arange(5000), np.arange(5000)
    np.random.Generator(BitGenerator(Words(5))).shuffle(a)
    np.random.default_rng(5).shuffle(b)
    assert np.array_equal(a, b)


def test_a_word_is_the_next_64_bits_the_first_one_highest():
    packed = PseudoSource(seed=3).bits(64 * 40_000)
    words = [int.from_bytes(packed[8 * i : 8 * i + 8].tobytes(), "big") for i in range(40_000)]
    rng = np.random.Generator(PseudoSource(seed=3).bit_generator())
    assert rng.integers(2**64, size=20_000, dtype=np.uint64).tolist() == words[:20_000]
    assert rng.random(10_000).tolist() == [(w >> 11) / 2**53 for w in words[20_000:30_000]]
    halves = rng.integers(2**32, size=3, dtype=np.uint32).tolist()
    assert halves == [words[30_000] % 2**32, words[30_000] >> 32, words[30_001] % 2**32]
    assert rng.bit_generator.random_raw(3).tolist() == words[30_002:30_005]
    assert rng.bit_generator.random_raw() == words[30_005]


@pytest.mark.parametrize(
    ("draw", "cdf"),
    [
        (lambda g, n: g.normal(1, 2, n), stats.norm(1, 2).cdf),
        (lambda g, n: g.standard_normal(n, np.float32), stats.norm().cdf),
        (lambda g, n: g.uniform(-1, 3, n), stats.uniform(-1, 4).cdf),
        (lambda g, n: g.exponential(2, n), stats.expon(scale=2).cdf),
        (lambda g, n: g.gamma(0.7, size=n), stats.gamma(0.7).cdf),
        (lambda g, n: g.standard_t(5, n), stats.t(5).cdf),
    ],
)
def test_continuous_distributions(draw, cdf):
    sample = draw(np.random.Generator(PseudoSource(seed=8).bit_generator()), 200_000)
    assert stats.kstest(sample, cdf).pvalue > CHANCE


def test_discrete_distributions():
    rng = np.random.Generator(PseudoSource(seed=9).bit_generator())
    assert stats.chisquare(np.bincount(rng.integers(100, size=200_000))).pvalue > CHANCE
    expected = stats.binom(12, 0.3).pmf(np.arange(13)) * 200_000
    counts = np.bincount(rng.binomial(12, 0.3, 200_000), minlength=13)
    # classes of fewer than 5 expected members are taken together
    rare = expected < 5
    counts, expected = (np.append(x[~rare], x[rare].sum()) for x in (counts, expected))
    assert stats.chisquare(counts, expected).pvalue > CHANCE
    assert sorted(rng.permutation(1000)) == list(range(1000))


def test_legacy_random_state_takes_it_too():
    ours, numpys = np.random.RandomState(BitGenerator(Words(5))), np.random.RandomState(np.random.PCG64(5))
    assert np.array_equal(ours.normal(size=20_001), numpys.normal(size=20_001))
    with pytest.raises(NoiseExhaustedError):
        np.random.RandomState(BitGenerator(Words(5), words=100)).normal(size=900)


@pytest.mark.parametrize("source", [Words(1, size=10**6), Watched(1)], ids=["finite", "watched"])
def test_a_source_that_may_fail_must_reserve(source):
    with pytest.raises(InputError, match=r"words can run dry or raise an alarm.*words=\.\.\."):
        source.bit_generator()
    assert np.random.Generator(source.bit_generator(words=8)).random() == np.random.default_rng(1).random()


def test_a_recording_and_a_watched_memory_must_reserve(tmp_path, memory):
    (tmp_path / "bits").write_bytes(PseudoSource(seed=2).bits(64 * 900).tobytes())
    reference = PseudoSource(seed=2).bit_generator().random_raw(900)
    watched = HealthChecked(PseudoSource(seed=2))
    stuck = HealthChecked(MemorySource(memory=memory(0.0001, 0.9999, rows=8, columns=8), k=1))
    for source, skip in ((RecordedSource(tmp_path / "bits"), 0), (watched, 16)):  # 1024 bits for the start-up test
        with pytest.raises(InputError, match="can run dry or raise an alarm"):
            source.bit_generator()
        assert np.array_equal(source.bit_generator(words=800).random_raw(800), reference[skip : skip + 800])
    with pytest.raises(NoiseHealthError):
        stuck.bit_generator(words=100)  # a hundred equal bits of every cell


def test_the_operating_system_needs_no_reserve():
    rng = np.random.Generator(SystemSource().bit_generator())
    assert stats.kstest(rng.random(20_000), stats.uniform().cdf).pvalue > CHANCE / 1000  # not seeded: never by chance


def test_the_words_are_drawn_and_checked_beforehand():
    source = Words(1, size=640)
    with pytest.raises(NoiseExhaustedError, match="run dry"):
        source.bit_generator(words=11)
    assert source.bit_generator(words=10).words_left == 10
    assert source.bits_left == 0
    with pytest.raises(NoiseHealthError, match="alarm"):
        Words(1, fails=NoiseHealthError("alarm")).bit_generator(words=1)


@pytest.mark.parametrize("words", [0, -1, 2.5])
def test_a_reserve_is_a_positive_number_of_words(words):
    with pytest.raises(InputError, match="positive integer"):
        PseudoSource().bit_generator(words=words)


@pytest.mark.parametrize("method", DRAWS)
def test_no_method_delivers_beyond_the_reserve(method):
    rng = np.random.Generator(BitGenerator(Words(5, size=10**6), words=20))
    with pytest.raises(NoiseExhaustedError, match=r"of those reserved from words and the draw needs at least \d+ more"):
        DRAWS[method](rng)


def test_a_scalar_draw_beyond_the_reserve_raises():
    rng = np.random.Generator(BitGenerator(Words(5), words=2))
    rng.random(2)
    for draw in (rng.random, rng.normal, rng.standard_normal, rng.exponential, lambda: rng.integers(9)):
        with pytest.raises(NoiseExhaustedError, match="0 words are left"):
            draw()
    with pytest.raises(NoiseExhaustedError):
        rng.bit_generator.random_raw()
    with pytest.raises(NoiseExhaustedError):
        rng.bit_generator.random_raw(3, output=False)


def test_a_draw_that_asks_for_too_much_takes_nothing():
    rng, numpys = np.random.Generator(BitGenerator(Words(5), words=10)), np.random.default_rng(5)
    half = rng.integers(2**32, dtype=np.uint32)  # half a word waits
    assert half == numpys.integers(2**32, dtype=np.uint32)
    with pytest.raises(NoiseExhaustedError, match="9 words are left"):
        rng.integers(2**32, size=20, dtype=np.uint32)
    assert rng.bit_generator.words_left == 9
    assert np.array_equal(
        rng.integers(2**32, size=19, dtype=np.uint32), numpys.integers(2**32, size=19, dtype=np.uint32)
    )
    assert rng.bit_generator.words_left == 0


@pytest.mark.parametrize("error", [NoiseHealthError("alarm"), MemoryError("full"), KeyboardInterrupt("stop")])
def test_what_an_endless_source_raises_in_the_middle_of_a_draw_arrives(error):
    source = Words(5)
    rng = np.random.Generator(source.bit_generator())
    rng.random(10)
    source.fails = error
    for _ in range(2):
        with pytest.raises(type(error), match=str(error)):
            rng.random(100_000)
    source.fails = None
    assert np.array_equal(rng.random(5), rng_after(source_words=16_384))


def rng_after(source_words):
    numpys = np.random.default_rng(5)
    numpys.bit_generator.advance(source_words)
    return numpys.random(5)


@pytest.mark.parametrize("words", [None, 30_000])
@pytest.mark.parametrize("again", [lambda g: pickle.loads(pickle.dumps(g)), copy.deepcopy], ids=["pickle", "deepcopy"])
def test_a_copy_goes_on_with_the_same_numbers(words, again):
    rng = np.random.Generator(PseudoSource(seed=4).bit_generator(words=words))
    rng.integers(9, dtype=np.uint32)  # half a word waits
    rng.random(7)
    copied = again(rng)
    # beyond the words that were waiting, if the source is endless
    assert flat(DRAWS["standard_normal"](copied)) == flat(DRAWS["standard_normal"](rng))
    assert np.array_equal(copied.random(20_000), rng.random(20_000))
    assert copied.bit_generator.words_left == rng.bit_generator.words_left


def test_a_copy_of_a_memory_goes_on_too(memory):
    rng = np.random.Generator(MemorySource(memory=memory(0.4, 0.7)).bit_generator())
    rng.random(7)
    copied = pickle.loads(pickle.dumps(rng))
    assert np.array_equal(copied.random(20_000), rng.random(20_000))


def test_a_state_goes_back():
    bits = PseudoSource(seed=4).bit_generator()
    rng = np.random.Generator(bits)
    rng.standard_normal(20_001, np.float32)
    state = bits.state
    first = rng.standard_normal(40_000, np.float32)
    bits.state = state
    assert np.array_equal(rng.standard_normal(40_000, np.float32), first)
    elsewhere = PseudoSource(seed=4).bit_generator()
    elsewhere.state = state
    assert np.array_equal(np.random.Generator(elsewhere).standard_normal(40_000, np.float32), first)
    with pytest.raises(InputError, match="another source"):
        PseudoSource(seed=5).bit_generator().state = state
    with pytest.raises(InputError, match="another bit generator"):
        bits.state = np.random.PCG64(1).state
    with pytest.raises(InputError, match="reserve of more than 10 words"):
        PseudoSource(seed=4).bit_generator(words=10).state = PseudoSource(seed=4).bit_generator(words=11).state


def test_children_are_independent_and_their_own():
    parent = np.random.Generator(PseudoSource(seed=4).bit_generator(words=5000))
    children = parent.spawn(2) + parent.spawn(1)
    draws = [g.standard_normal(4000) for g in (parent, *children)]
    assert np.abs(np.corrcoef(draws)[np.triu_indices(4, 1)]).max() < 4.5 / np.sqrt(4000)
    twins = np.random.Generator(PseudoSource(seed=4).bit_generator(words=5000)).spawn(3)
    assert all(np.array_equal(t.standard_normal(4000), d) for t, d in zip(twins, draws[1:], strict=True))
    assert [g.bit_generator.words for g in children] == [5000] * 3
    with pytest.raises(InputError, match="cannot spawn"):
        np.random.Generator(Watched(1).bit_generator(words=9)).spawn(2)


def test_threads_share_one_generator():
    # numpy lets go of the interpreter while it draws, and the source is asked from inside
    rng = np.random.Generator(PseudoSource(seed=6).bit_generator())
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda _: rng.random(30_000), range(8)))
    whole = np.random.Generator(PseudoSource(seed=6).bit_generator()).random(240_000)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.sort(whole))


def test_the_functions_are_not_offered_without_the_lock():
    bits = PseudoSource().bit_generator()
    assert not hasattr(bits, "ctypes")
    assert not hasattr(bits, "cffi")


def test_the_ledger_counts_blocks_and_reserves():
    source = PseudoSource(seed=1)
    source.bit_generator(words=100)
    assert source.ledger.total("bit") == 6400
    np.random.Generator(source.bit_generator()).random(20_000)
    assert source.ledger.total("bit") == 6400 + 64 * 2 * 16_384


def test_normals_come_fast():
    # the demand is 60 M/s on two free cores; a ratio to numpy in the same run does not depend on the machine
    out = np.empty(2_000_000)

    def best(rng):
        times = []
        for _ in range(5):
            begin = perf_counter()
            rng.standard_normal(out=out)
            times.append(perf_counter() - begin)
        return min(times)

    ratio = best(np.random.default_rng(1)) / best(np.random.Generator(PseudoSource(seed=1).bit_generator()))
    assert ratio > 0.5  # 0.9 was seen
