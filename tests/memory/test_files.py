"""A memory that is saved and read again goes on as if nothing had happened, or says what is wrong."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from voltaspin.core.errors import InputError
from voltaspin.device import SwitchingModel
from voltaspin.memory import Access, Imperfections, MagnetoelectricMemory, Slopes, Variation

SLOPES = Slopes(temperature=(1e-4, 1e-4), voltage=(0.1, 0.1), width=(1e8, 1e8), B_z=(5.0, -5.0))


@pytest.fixture
def memory():
    array = MagnetoelectricMemory(
        rows=24, columns=40, variation=Variation(K_eff=0.04, RA=0.1, TMR=0.05, gradient={"K_eff": (0.01, 0.0)}),
        access=Access(toggle_error=(0.01, 0.02), noise_0=0.1, noise_1=0.1), stuck=0.02, seed=9,
        imperfections=Imperfections(slopes=SLOPES),
    )  # fmt: skip
    array.pulse()
    array.pulse(mask=np.random.default_rng(0).random((24, 40)) < 0.5)
    return array


def test_the_state_and_the_future_are_kept_bit_for_bit(memory, tmp_path):
    memory.save(tmp_path / "array.safetensors")
    again = MagnetoelectricMemory.load(tmp_path / "array.safetensors")
    assert again.describe() == memory.describe()
    assert np.array_equal(again.worn, memory.worn)
    for _ in range(3):
        assert np.array_equal(again.state, memory.state)
        assert np.array_equal(again.p01, memory.p01)
        for one in (again, memory):
            one.pulse()
            one.write(one.read() ^ 1)
            one.age(3.0)
    assert again.ledger.to_dict() == memory.ledger.to_dict()


def test_a_changed_bit_is_noticed(memory, tmp_path):
    path = tmp_path / "array.safetensors"
    memory.save(path)
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="checksum is wrong"):
        MagnetoelectricMemory.load(path)


def test_other_files_are_refused(memory, tmp_path):
    path = tmp_path / "array.safetensors"
    memory.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="truncated or no saved memory"):
        MagnetoelectricMemory.load(path)
    path.write_bytes(whole)
    save_file(load_file(path), tmp_path / "old", metadata={"kind": "magnetoelectric-memory", "schema_version": "0"})
    with pytest.raises(InputError, match="version '0', not 'magnetoelectric-memory' version '1'"):
        MagnetoelectricMemory.load(tmp_path / "old")
    with pytest.raises(InputError, match="does not exist"):
        MagnetoelectricMemory.load(tmp_path / "nothing")
    with pytest.raises(InputError, match="cannot be written"):
        memory.save(tmp_path / "no" / "folder")


def test_a_model_of_ones_own_cannot_be_saved(tmp_path):
    class Own:
        def probabilities(self, *, K_eff_scale, B_z):
            return 0.5, 0.5

    with pytest.raises(InputError, match="a memory with a Own cannot be saved"):
        MagnetoelectricMemory(rows=2, columns=2, model=Own()).save(tmp_path / "x")
    constant = MagnetoelectricMemory(rows=2, columns=2, model=SwitchingModel.constant(0.5, 0.5))
    constant.save(tmp_path / "y")
    assert MagnetoelectricMemory.load(tmp_path / "y").junction is None


def test_yields_of_an_array(memory):
    found = memory.yields(eps=0.01, seconds=60.0)
    free = np.ones(memory.cells, bool)
    free[memory._stuck_at[0]] = False
    p = np.stack([memory.p01.ravel()[free], memory.p10.ravel()[free]])
    assert found.outside == pytest.approx((np.abs(p - 0.5) > 0.01).any(0).mean())
    assert found.mean == pytest.approx(p[0].mean())
    assert found.stuck == memory.cells - free.sum()
    p0, p1 = memory.forgetting(60.0)
    assert found.lost == pytest.approx(((p0 + p1).ravel()[free] / 2).mean())
    assert "stuck" in str(found)
    assert set(found.to_json()["quantiles"]) == {"0.01", "0.5", "0.99"}
    with pytest.raises(InputError, match="eps = 0"):
        memory.yields(eps=0)


def test_bits_and_place_alone_put_an_equal_memory_where_it_stood():
    def equal():
        return MagnetoelectricMemory(rows=24, columns=40, variation=Variation(K_eff=0.04), seed=9)

    first, second = equal(), equal()
    first.pulse()
    first.pulse()
    kept, cycle = first.read(), first.cycle
    second.restore(kept, cycle=cycle)
    for memory in (first, second):
        memory.pulse()
    assert np.array_equal(first.state, second.state)
    second.restore(kept, cycle=0)
    second.pulse()
    assert not np.array_equal(first.state, second.state)
    with pytest.raises(InputError, match=r"bits of shape \(3,\) must be 0 or 1 in the shape \(24, 40\)"):
        second.restore([0, 1, 0], cycle=cycle)
