"""Draws that a drive_torch block meets in training code: recomputation, seeds, threads and other processes."""

import concurrent.futures
import multiprocessing
import os
import threading

import numpy as np
import pytest
import torch
from torch.utils.checkpoint import checkpoint, checkpoint_sequential
from torch.utils.data import DataLoader, Dataset

from voltaspin.core.errors import InputError
from voltaspin.noise import MemorySource, PseudoSource, SystemSource, torch_block

pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")

METHODS = [m for m in ("fork", "forkserver", "spawn") if m in multiprocessing.get_all_start_methods()]
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


def seeded(seed):
    return torch.Generator().manual_seed(seed)


# --- recomputation -----------------------------------------------------------------------------------------------


def gradients(source, reentrant=None):
    torch.manual_seed(0)
    layers = [torch.nn.Linear(4, 8), torch.nn.Dropout(0.3), torch.nn.RReLU(), torch.nn.Linear(8, 8)]
    net = torch.nn.Sequential(*layers, torch.nn.Dropout(0.5), torch.nn.Linear(8, 1))
    x = torch.ones(6, 4, requires_grad=True)
    with source.drive_torch() as block:
        for _ in range(2):
            y = net(x) if reentrant is None else checkpoint_sequential(net, 3, x, use_reentrant=reentrant)
            (y * torch.randn(6, 1)).sum().backward()
        after = torch.randn(5)
    return [*(p.grad for p in net.parameters()), x.grad, after], block


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_gradients_are_those_of_the_whole_run(reentrant, memory):
    for build in (lambda: PseudoSource(seed=1), lambda: MemorySource(memory=memory(), seed=1)):
        whole, _ = gradients(build())
        parts, block = gradients(build(), reentrant)
        assert all(torch.equal(a, b) for a, b in zip(whole, parts, strict=True))
        assert block.served > 8  # what is drawn again is counted again


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_source_that_cannot_go_back_refuses_the_recomputation(reentrant):
    with pytest.raises(InputError, match="cannot go back"):
        gradients(SystemSource(), reentrant)


def test_the_recomputation_of_a_stream_is_its_stream():
    drawn = []

    def noisy(x, g):
        drawn.append(torch.randn(4, generator=g))
        return (x * drawn[-1]).sum()

    x, state = torch.ones(4, requires_grad=True), seeded(5).get_state()
    with PseudoSource(seed=1).drive_torch():
        for _ in range(2):
            g = seeded(0)
            g.set_state(state)
            checkpoint(lambda x, g=g: noisy(x, seeded(7)), x, use_reentrant=False).backward()
    assert torch.equal(drawn[0], drawn[1])


# --- seeds and states --------------------------------------------------------------------------------------------


def test_seeds_inside_of_the_block_lead_back():
    with PseudoSource(seed=1).drive_torch() as block:
        sequence = torch.randn(3)
        torch.manual_seed(5)
        first = torch.randn(3), torch.rand(3), torch.randperm(9)
        torch.random.manual_seed(5)
        again = torch.randn(3), torch.rand(3), torch.randperm(9)
        named = torch.randn(3, generator=seeded(5))
        torch.seed()
        other = torch.randn(3)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert torch.equal(first[0], named)
    assert not torch.equal(first[0], other)
    assert torch.equal(sequence, torch.from_numpy(PseudoSource(seed=1).normal(3)))
    assert block.served == 9


def test_states_lead_back_and_forth():
    def draw():
        return torch.cat([torch.randn(3), torch.rand(2), torch.nn.functional.dropout(torch.ones(5))])

    with PseudoSource(seed=1).drive_torch():
        torch.randn(7)
        with torch.random.fork_rng():
            inside = draw()
        state = torch.get_rng_state()
        outside, next_ = draw(), draw()
        torch.random.set_rng_state(state)
        again, next_again = draw(), draw()
        torch.default_generator.set_state(state)
        explicit = torch.randn(3, generator=torch.default_generator)
        clone = torch.default_generator.clone_state()
        assert torch.equal(torch.rand(2), torch.rand(2, generator=clone))
    assert torch.equal(inside, outside)
    assert torch.equal(outside, again)
    assert torch.equal(next_, next_again)
    assert not torch.equal(outside, next_)
    assert torch.equal(explicit, outside[:3])


def test_states_of_a_generator_lead_back():
    with PseudoSource(seed=1).drive_torch():
        g = seeded(3)
        start = g.get_state()
        first = torch.randn(2, generator=g)
        middle = g.get_state()
        second = torch.randn(2, generator=g)
        g.set_state(start)
        assert torch.equal(torch.randn(2, generator=g), first)
        other = torch.Generator()
        other.set_state(middle)
        assert torch.equal(torch.randn(2, generator=other), second)
        assert torch.equal(second, torch.from_numpy(PseudoSource(seed=1).normal((1, 2), streams=[3], step=1)[0]))


def test_a_sequential_source_refuses_seeds_and_states():
    with SystemSource().drive_torch():
        torch.randn(2)
        with torch.random.fork_rng():
            torch.manual_seed(3)
            with pytest.raises(InputError, match="cannot go back"):
                torch.randn(2)
        state = torch.get_rng_state()
        torch.randn(2)
        torch.set_rng_state(state)
        with pytest.raises(InputError, match="cannot go back"):
            torch.randn(2)


def test_states_of_elsewhere_are_refused():
    torch.rand(1)
    state = torch.get_rng_state()
    with PseudoSource(seed=1).drive_torch():
        torch.set_rng_state(state)
        with pytest.raises(InputError, match="from outside of the block"):
            torch.randn(2)
        torch.manual_seed(3)
        torch.randn(2)
    with PseudoSource(seed=1).drive_torch():
        theirs = torch.get_rng_state()
    with PseudoSource(seed=1).drive_torch():
        torch.set_rng_state(theirs)
        with pytest.raises(InputError, match="another drive_torch block"):
            torch.randn(2)
        torch.manual_seed(3)


def test_old_places_are_refused(monkeypatch):
    monkeypatch.setattr("voltaspin.noise.torch_rng._MARKS", 10)
    with PseudoSource(seed=1).drive_torch():
        torch.randn(1)
        state = torch.get_rng_state()
        for _ in range(12):
            torch.randn(1)
        torch.set_rng_state(state)
        with pytest.raises(InputError, match="10 draws ago"):
            torch.randn(1)


def test_a_draw_that_nobody_saw_ends_the_block_with_an_error():

    before = torch.get_rng_state()
    with pytest.raises(InputError, match="has moved inside"), PseudoSource(seed=1).drive_torch(), torch_block.passed():
        torch.randn(3)
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(ZeroDivisionError), PseudoSource(seed=1).drive_torch(), torch_block.passed():
        _ = torch.randn(3).sum() / (1 // 0)
    assert torch.equal(torch.get_rng_state(), before)


# --- threads -----------------------------------------------------------------------------------------------------


def a_few():
    return torch.cat(
        [
            torch.randn(6),
            torch.rand(6),
            torch.randn(6, generator=seeded(3)),
            torch.randperm(6).float(),
            torch.nn.functional.dropout(torch.ones(6)),
        ]
    )


def test_threads_are_served_and_counted():
    with concurrent.futures.ThreadPoolExecutor(1) as older:
        older.submit(a_few).result()  # its thread is there before the block
        with PseudoSource(seed=1).drive_torch() as here:
            expected = a_few(), a_few()
        with PseudoSource(seed=1).drive_torch() as block:
            found = [older.submit(a_few).result()]
            thread = threading.Thread(target=lambda: found.append(a_few()))
            thread.start()
            thread.join()
        with PseudoSource(seed=1).drive_torch(), pytest.raises(InputError, match="poisson"):
            older.submit(lambda: torch.poisson(torch.ones(3))).result()
        torch.manual_seed(3)
        plain = a_few()
        torch.manual_seed(3)
        assert torch.equal(older.submit(a_few).result(), plain)
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    assert (block.served, block.numbers, block.streams) == (here.served, here.numbers, here.streams)


def test_many_threads_never_share_a_number():
    rows = []

    def draw():
        for _ in range(40):
            rows.append(torch.randn(3))

    with PseudoSource(seed=1).drive_torch() as block:
        threads = [threading.Thread(target=draw) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(torch.unique(torch.stack(rows), dim=0)) == 160
    assert torch.equal(torch.cat(rows).sort().values, torch.from_numpy(PseudoSource(seed=1).normal(480)).sort().values)
    assert (block.served, block.numbers) == (160, 480)


def test_blocks_of_several_threads():
    with concurrent.futures.ThreadPoolExecutor(1) as other, PseudoSource(seed=1).drive_torch() as block:

        def enter(what):
            with what:
                return torch.randn(2)

        drawn = other.submit(enter, block).result()
        with pytest.raises(InputError, match="one block around all threads"):
            other.submit(enter, PseudoSource(seed=2).drive_torch()).result()
        after = torch.randn(2)
    assert torch.equal(torch.cat([drawn, after]), torch.from_numpy(PseudoSource(seed=1).normal(4)))


# --- processes ---------------------------------------------------------------------------------------------------


class Noisy(Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, i):
        return torch.cat([torch.randn(2), torch.rand(1), torch.randn(2, generator=seeded(i))])


def epochs(source, workers, method, persistent=True):
    with source.drive_torch() as block:
        loader = DataLoader(Noisy(), num_workers=workers, multiprocessing_context=method, persistent_workers=persistent)
        found = [torch.cat(list(loader)) for _ in range(2)]
        here = torch.randn(2)
    return found, here, block


@pytest.mark.parametrize("method", METHODS)
def test_workers_draw_numbers_of_their_own_that_are_counted(method):
    source = PseudoSource(seed=1)
    (first, second), here, block = epochs(source, 2 if method == "fork" else 1, method)
    free = torch.cat([first[:, :2], second[:, :2], here[None]])
    assert len(torch.unique(free)) == free.numel() == 26
    keyed = torch.from_numpy(PseudoSource(seed=1).normal((6, 2), streams=range(6), step=0))
    assert torch.equal(first[:, 3:], keyed)
    assert torch.equal(second[:, 3:], keyed)
    # 12 items of 5 numbers by 3 draws, 2 numbers here, and the seeds of the workers
    seeds = block.served - 37
    assert 1 <= seeds <= 2
    assert block.numbers == 62 + seeds
    assert source.ledger.totals()["normal"] == 50
    assert "other processes included" in str(block)


@forks
def test_workers_are_reproducible_and_keyed_items_for_any_number_of_them():
    (a, b), _, _ = epochs(PseudoSource(seed=1), 2, "fork")
    (c, d), _, _ = epochs(PseudoSource(seed=1), 2, "fork")
    assert torch.equal(a, c)
    assert torch.equal(b, d)
    (e, f), _, _ = epochs(PseudoSource(seed=1), 1, "fork", persistent=False)
    assert torch.equal(a[:, 3:], e[:, 3:])
    free = torch.cat([e[:, :2], f[:, :2]])
    assert len(torch.unique(free)) == free.numel()


@forks
def test_workers_of_a_memory_count_into_its_array(memory):
    source, twin = MemorySource(memory=memory(), seed=1), MemorySource(memory=memory(), seed=1)
    epochs(source, 2, "fork")
    epochs(twin, 0, None, persistent=False)
    for action in ("normal", "lookup"):
        assert source.ledger.totals()[action] == twin.ledger.totals()[action] > 0
    assert source.memory.ledger.totals()["pulse"] > 0


@forks
def test_workers_of_a_sequential_source_are_refused():
    with SystemSource().drive_torch(), pytest.raises(InputError, match=r"(?s)made in another process|cannot go back"):
        list(DataLoader(Noisy(), num_workers=1, multiprocessing_context="fork"))


@forks
def test_a_raw_fork_and_its_own_fork():
    def child(depth):
        read, write = os.pipe()
        if (pid := os.fork()) == 0:
            try:
                rows = [torch.randn(3).tolist()]
                if depth:
                    rows += child(depth - 1)
                os.write(write, repr(rows).encode())
            finally:
                os._exit(0)
        os.close(write)
        with os.fdopen(read) as pipe:
            rows = eval(pipe.read())
        os.waitpid(pid, 0)
        return rows

    with PseudoSource(seed=1).drive_torch() as block:
        rows = [*child(1), *child(1), torch.randn(3).tolist()]
    assert len(np.unique(rows)) == 15
    assert (block.served, block.numbers) == (5, 15)


@forks
def test_a_generator_that_has_drawn_is_refused_in_another_process():
    class Shared(Noisy):
        def __init__(self):
            self.g = seeded(5)

        def __getitem__(self, i):
            return torch.randn(2, generator=self.g)

    with PseudoSource(seed=1).drive_torch():
        data = Shared()
        torch.randn(2, generator=data.g)
        with pytest.raises(InputError, match="has drawn in another process"):
            list(DataLoader(data, num_workers=1, multiprocessing_context="fork"))


# --- sources and NumPy's engine in other processes ---------------------------------------------------------------


def _use(pipe, what, how):
    try:
        pipe.send(how(what))
    except InputError as error:
        pipe.send(str(error))
    pipe.close()


def in_process(what, how, method="fork"):
    context = multiprocessing.get_context(method)
    receive, send = context.Pipe(False)
    process = context.Process(target=_use, args=(send, what, how))
    process.start()
    send.close()
    found = receive.recv()
    process.join()
    return found


def normals(source):
    return source.normal(4).tolist()


def addressed(source):
    return source.normal((1, 4), streams=[3], step=2)[0].tolist()


def from_numpy(rng):
    return rng.standard_normal(4).tolist()


@forks
@pytest.mark.parametrize("build", [lambda: PseudoSource(seed=1), lambda: MemorySource(seed=1)])
def test_a_source_goes_on_in_a_sequence_of_its_own_in_another_process(build):
    source = build()
    there = [in_process(source, normals) for _ in range(2)]
    here = normals(source)
    assert len(np.unique([*there, here])) == 12
    assert here == normals(build())
    assert in_process(source, addressed) == addressed(build())
    twin = build()
    assert [in_process(twin, normals) for _ in range(2)] == there


def everything(things):
    source, rng = things
    return [normals(source), from_numpy(rng), torch.randn(4).tolist()]


@pytest.mark.parametrize("method", [m for m in METHODS if m != "forkserver"])
def test_what_is_sent_to_a_plain_process_goes_on_in_sequences_of_its_own(method):
    source = PseudoSource(seed=1)
    rng = np.random.Generator(source.bit_generator())
    rng.standard_normal(3)
    with source.drive_torch() as block:
        rows = in_process((source, rng), everything, method)
        rows += everything((source, rng))
        assert (block.served, block.numbers) == (2, 8)
    assert len(np.unique(rows)) == 24


@forks
def test_numpys_engine_in_other_processes():
    rng = np.random.Generator(PseudoSource(seed=1).bit_generator())
    rng.integers(9, size=3, dtype=np.uint32)  # half a word waits
    there = [in_process(rng, from_numpy) for _ in range(2)]
    assert len(np.unique([*there, from_numpy(rng)])) == 12
    reserve = np.random.Generator(PseudoSource(seed=1).bit_generator(words=100))
    assert "reserve words in the process that draws" in in_process(reserve, from_numpy)
    assert "made in another process" in in_process(np.random.Generator(SystemSource().bit_generator()), from_numpy)
    assert "made in another process" in in_process(SystemSource(), normals)


@forks
def test_the_state_of_a_source_that_has_been_sent():
    source = PseudoSource(seed=1)
    in_process(source, normals)
    state = source.state_dict()
    there = in_process(source, normals)
    twin = PseudoSource(seed=1)
    twin.load_state_dict(state)
    assert in_process(twin, normals) == there
