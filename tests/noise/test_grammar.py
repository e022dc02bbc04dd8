"""Descriptions of sources: each word builds what the class builds; what does not apply or make sense is refused."""

import numpy as np
import pytest

from voltaspin.core.errors import InputError
from voltaspin.memory import Imperfections, MagnetoelectricMemory
from voltaspin.noise import (
    Feedback,
    HealthChecked,
    MemorySource,
    PeriodicSource,
    PseudoSource,
    RecordedSource,
    VonNeumann,
    Xor,
    build,
)
from voltaspin.noise.grammar import ALIASES, WORDS, vocabulary


def same(a, b):
    assert a.provenance == b.provenance
    assert np.array_equal(a.bits(5000), b.bits(5000))


@pytest.fixture
def array():
    return lambda: MagnetoelectricMemory(rows=32, columns=32, seed=2)


def test_words_build_what_the_classes_build(array):
    same(build("software", seed=4), PseudoSource(seed=4))
    same(build("pseudo:seed=3,precision=16"), PseudoSource(seed=3, precision=16))
    same(build("software-16", seed=4), PseudoSource(seed=4, precision=16))
    same(build("memory-raw", memory=array(), seed=1), MemorySource(memory=array(), seed=1, k=1))
    same(build("memory:rows=32,columns=32,seed=2"), MemorySource(memory=array(), seed=2, k=2))
    same(
        build("memory:k=4,mapping=rotated,reset,seed=1", memory=array()),
        MemorySource(memory=array(), seed=1, k=4, mapping="rotated", reset=True),
    )
    same(build("periodic:1023", seed=5), PeriodicSource(period=1023, seed=5))
    assert build("system").provenance.kind == "operating system"


def test_stages_stand_behind_each_other(array):
    source = build("memory:k=2 | health:0.9 | von-neumann", memory=array(), seed=3)
    same(source, VonNeumann(HealthChecked(MemorySource(memory=array(), seed=3, k=2), H=0.9)))
    raw = MemorySource(memory=array(), seed=3, k=1)
    same(build("memory", conditioning="health:H=0.5,a=30 | xor:2", memory=array(), seed=3),
         Xor(HealthChecked(raw, H=0.5, a=30), k=2))  # fmt: skip
    for words in ("feedback:0.1 | xor:2", "stabilise:gain=0.1,xor:2"):
        ideal = MemorySource(memory=array(), seed=3, k=1, imperfections=Imperfections.none())
        same(build("memory", conditioning=words, memory=array(), seed=3), Xor(Feedback(ideal, gain=0.1), k=2))


def test_a_file_of_any_name_is_recorded(tmp_path):
    path = tmp_path / "a,b: 1|2.csv"
    path.write_text("t,R\n" + "".join(f"{i},{3000 if i % 3 else 8000}\n" for i in range(300)))
    plain = tmp_path / "lab.csv"
    plain.write_bytes(path.read_bytes())
    want = RecordedSource(plain, threshold=5400.0, column="R").take(300)
    for source in (build(f"recorded:{plain},threshold=5.4k,column=R"), build(str(path), threshold="5.4k", column="R"),
                   build("recorded", path=str(path), threshold="5.4kohm", column="R")):  # fmt: skip
        assert np.array_equal(source.take(300), want)


def test_one_pulse_gives_an_image():
    assert build("memory", normals=28 * 28).memory.cells == 2**16
    assert build("memory", normals=3 * 64 * 64).memory.cells == 2**20
    assert build("memory", conditioning="von-neumann", normals=3 * 64 * 64).source.memory.cells == 2**18


@pytest.mark.parametrize(("words", "options", "said"), [
    ("memry", {}, "did you mean 'memory'"), ("lab.csv", {}, "no file of recorded bits"),
    ("software | bleach", {}, "use feedback, health"), ("software | von-newmann", {}, "did you mean 'von-neumann'"),
    ("xor:2", {}, "stands behind a source"), ("software | system", {}, "begins a description"),
    ("memory:kk=2", {}, "did you mean 'k'"), ("system", {"k": 1}, "'k' is no parameter"),
    ("software:precision=8", {"precision": 9}, "given twice"), ("software:seed=1,seed=2", {}, "give it once"),
    ("memory:k=1.5", {}, "whole number"), ("memory:k=2V", {}, "no unit"), ("memory:mapping=spiral", {}, "'spiral'"),
    ("memory:stray_field_spread=1m", {}, "no unit of field"), ("memory:voltage=1V", {}, "give junction"),
    ("memory:imperfections=1", {}, "in Python"), ("memory:4", {}, "no parameter"),
    ("recorded", {}, "needs a value of path"),
    ("memory:k=1 | xor:2 | feedback", {}, "behind memory"), ("software | von-neumann | health", {}, "before it"),
    ("software | sha256", {}, "H_min or assessed"), ("", {}, "is unknown"), ("software |", {}, "is unknown"),
    ("memory:rows=8", {"memory": MagnetoelectricMemory(rows=8, columns=8)}, "leave memory= out"),
    ("memory:junction=generator,model=a.json", {}, "give one of them"),
    ("memory:junction=generator,voltage=1V", {}, "width=0.3ns"),
])  # fmt: skip
def test_what_does_not_apply_is_refused(words, options, said):
    with pytest.raises(InputError, match=said):
        build(words, **options)


def test_the_help_lists_every_word():
    both = vocabulary(sources=True) + "\n" + vocabulary(sources=False)
    assert [line.partition(":")[0] for line in both.splitlines()] == list(WORDS)
    assert {of.partition(":")[0] for of in ALIASES.values()} <= set(WORDS)
