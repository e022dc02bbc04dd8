"""The ten estimates against the standard's own program, ea_non_iid of NIST's SP800-90B_EntropyAssessment (68ed165).

Its values, in the order of the document (6.3.1 to 6.3.10), were printed by ``ea_non_iid -i -a -vv FILE 1`` on the bits
of ``entropy_inputs.py``, one a byte, and stand in the program's reference results for its own sample files. Those are
not part of this repository: the test reads them where ``VOLTASPIN_90B_SAMPLES`` names their folder.
"""

import hashlib
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from voltaspin.noise import entropy
from voltaspin.noise.examination.whole import Reader

sys.path.insert(0, str(Path(__file__).parent))
import entropy_inputs as inputs

PROGRAM = {
    "ideal": (
        0.9957074059, 0.894980908, 0.9990428192, 0.8397302682, 0.9216225645,
        0.9835743519, 0.9985280327, 0.9968082071, 0.9976707313, 0.9999469083,
    ),
    "biased": (
        0.735864, 0.7256786386, 0.7393476861, 0.5273440911, 0.727902358,
        0.9100383397, 0.7364506055, 0.9380127906, 0.7358755276, 0.7358827384,
    ),
    "copies": (
        0.9957419281, 0.8968177875, 0.9960776036, 0.830905164, 0.9451609476,
        0.9656387273, 0.9612074985, 0.5129427543, 0.9966714588, 0.9939061374,
    ),
    "array_of_cells": (
        0.9738238696, 0.9132564021, 0.9771298912, 1, 0.8560398211,
        0.9199736236, 0.9861971917, 0.7826008009, 0.9385918543, 0.9739920594,
    ),
    "sticky": (
        0.994864746, 0.2907645578, 0.5172467914, 0.3497583431, 0.5247341042,
        0.7871163947, 0.7663358253, 0.5116416692, 0.5116484473, 0.5116371218,
    ),
    "stuck": (
        0.9928564319, 0.8763318635, 0.9934562256, 0.7778396289, 0.006564264169,
        0.0147308667, 0.009775346288, 0.009954510379, 0.009802134229, 0.009669809077,
    ),
    "shift_register": (
        0.9960612976, 0.9068842106, 0.9995260019, 1, 0.9944065203,
        4.232997795e-06, 1, 1, 7.504406695e-06, 0.9973581923,
    ),
    "drifting": (
        0.995894411, 0.632272096, 0.892044783, 0.4277434452, 0.603118804,
        0.8972558464, 0.6726098219, 0.8869945106, 0.7663386128, 0.7427904986,
    ),
    "short": (
        0.9639343977, 0.757818331, 0.9933963687, 0.7229371981, 0.9144048014,
        0.9675381666, 0.9694478849, 0.9645665327, 0.969430204, 0.9652533013,
    ),
    "periodic": (
        0.7301967757, 0.8685878818, 0.2982417527, 0.08545324334, 0,
        0, 0.730198103, 0, 1.335217197e-06, 0.3178095531,
    ),
}  # fmt: skip

SAMPLES = {  # the first digits of the file's SHA-256, and the program's reference results
    "truerand_1bit.bin": ("f9ea8832af4c4205", (
        0.9950430151, 0.9009357269, 0.9984864756, 0.8296770832, 0.9142263675,
        0.9858183372, 0.996972248, 0.9982916664, 0.9966599438, 0.9970500476,
    )),
    "biased-random-bits.bin": ("481cdac6e2d65d45", (
        0.02863306978, 0.02851379283, 0.02912302394, 0.01776657912, 0.02648925705,
        0.055881394, 0.02863489214, 0.04059976327, 0.02863458626, 0.02863502015,
    )),
    "data.pi.bin": ("d9a7de4e1f170f36", (
        0.8111405797, 0.5695375935, 0.723180782, 0.6015591906, 0.7018609942,
        0.9088036565, 0.8123332326, 0.8114346126, 0.8111836968, 0.8111586444,
    )),
    "ringOsc-nist.bin": ("7d37dc3795e9b292", (
        0.9935140688, 0.1264457362, 0.2579793925, 0.1593226977, 0.2017085082,
        0.3657986348, 0.2905192274, 0.2510669536, 0.2510689408, 0.2510730568,
    )),
    "rand1_short.bin": ("3814404497a3b912", (
        0.9610588257, 0.691464121, 0.9875961045, 0.6117162048, 0.8676244308,
        0.9626258038, 0.9526180605, 0.9433337066, 0.9616166678, 0.961446246,
    )),
}  # fmt: skip

# Both solve equations by bisection; the program ends within 4e-9 (relative) of the root.
TOLERANCE = 2e-9


@pytest.mark.parametrize("made", inputs.MADE, ids=lambda f: f.__name__)
def test_bits_of_known_kinds(made):
    found = entropy.estimate(made())
    assert [getattr(found, n) for n in entropy.ESTIMATES] == pytest.approx(PROGRAM[made.__name__], abs=TOLERANCE)
    assert found.minimum == pytest.approx(min(PROGRAM[made.__name__]), abs=TOLERANCE)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_programs_own_sample_files(name):
    path = Path(os.environ.get("VOLTASPIN_90B_SAMPLES", "missing")) / name
    if not path.is_file():
        pytest.skip("the program's sample files are not here")
    digits, expected = SAMPLES[name]
    data = path.read_bytes()
    assert hashlib.sha256(data).hexdigest().startswith(digits)
    found = entropy.estimate(np.frombuffer(data, np.uint8))
    assert [getattr(found, n) for n in entropy.ESTIMATES] == pytest.approx(expected, abs=TOLERANCE)


def test_copies_of_the_bit_a_hundred_places_before_have_the_entropy_of_the_coin():
    truth = -np.log2(0.7)
    assert entropy.lag(inputs.copies()) == pytest.approx(truth, abs=0.006)  # 2.6 + 3 standard errors of 0.001


def test_cells_of_two_kinds_are_assessed_by_cell():
    """The stream as it is read is given 0.78 by the program; a guesser who knows the cells needs 0.515 bit."""
    bits = inputs.array_of_cells()
    found = {}
    for lanes in (1, inputs.LAG):
        reader = Reader(bits.size, lanes=lanes)
        reader.feed(np.packbits(bits), bits.size)
        found[lanes] = reader.found()
    truth = -np.log2(0.7)
    assert found[1].assessed == pytest.approx(min(PROGRAM["array_of_cells"]), abs=TOLERANCE)
    assert found[1].assessed > 0.75
    assert found[inputs.LAG].assessed < truth
    by_cell = [s.estimates for s in found[inputs.LAG].segments if s.order == "cell by cell"]
    assert [e.multi_mcw for e in by_cell] == [pytest.approx(truth, abs=0.01)]
