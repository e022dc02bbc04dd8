"""Normals for the crossbars: keyed by layer, image and step, fast enough to give one to every output.

A word of the keyed generator of ``slices`` makes four 16-bit indices into a table of 65,536 normals (the means of
equal slices of the distribution, so that mean 0 and variance 1 are exact; the largest is 4.4).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from voltaspin.core.compiled import numba
from voltaspin.random.bernoulli import GOLDEN, keyed_word
from voltaspin.random.streams import derive_key

_STRIP = 256  # words made at once
_16, _LOW16 = np.uint64(16), np.uint64(0xFFFF)


@cache
def normal_table() -> NDArray[np.float32]:
    """float32 (65536,), ascending, of mean 0 and variance 1."""
    from scipy.special import ndtri

    edges = ndtri(np.arange(1, 65536) / 65536)
    density = np.concatenate([[0.0], np.exp(-(edges**2) / 2) / np.sqrt(2 * np.pi), [0.0]])
    means = -np.diff(density) * 65536
    return (means / np.sqrt((means**2).mean())).astype(np.float32)


@numba.njit(cache=True, nogil=True)
def _normals(key, counter, table, words, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` from word ``counter`` on; ``words`` is scratch."""
    n = out.shape[0]
    for start in range(0, n, 4 * _STRIP):
        m = min(n - start, 4 * _STRIP)
        for j in range((m + 3) // 4):
            words[j] = keyed_word((counter + np.uint64(start // 4 + j)) * GOLDEN, key)
        for j in range(m // 4):
            w = words[j]
            o = start + 4 * j
            out[o] = table[np.int64(w & _LOW16)]
            out[o + 1] = table[np.int64((w >> _16) & _LOW16)]
            out[o + 2] = table[np.int64((w >> (_16 + _16)) & _LOW16)]
            out[o + 3] = table[np.int64(w >> (_16 + _16 + _16))]
        for j in range(m // 4 * 4, m):
            out[start + j] = table[np.int64((words[j // 4] >> np.uint64(16 * (j % 4))) & _LOW16)]


@numba.njit(cache=True, nogil=True)
def _fill(first, last, key, counters, table, out):  # type: ignore[no-untyped-def]
    words = np.empty(_STRIP, np.uint64)
    for b in range(first, last):
        _normals(key, counters[b], table, words, out[b])


@numba.njit(cache=True, nogil=True, fastmath=True)
def _finish(first, last, key, counters, table, variance, white, scale, bias, y):  # type: ignore[no-untyped-def]
    """``y = (y + sqrt(variance + white) z) scale + bias``; y and variance (images, M, N), the others (images or 1,
    M, 1) or (images or 1, 1, N)."""
    words = np.empty(_STRIP, np.uint64)
    _images, M, N = y.shape
    z = np.empty(N, np.float32)
    per_n = scale.shape[1] == 1 and scale.shape[2] == N  # a convolution with one output has scale.shape[1] == 1 too
    noisy = variance.shape[0] > 0
    for b in range(first, last):
        c = counters[b]
        bw = b if white.shape[0] > 1 else 0
        bs = b if scale.shape[0] > 1 else 0
        bb = b if bias.shape[0] > 1 else 0
        for m in range(M):
            _normals(key, c, table, words, z)
            c += np.uint64((N + 3) // 4)
            row = y[b, m]
            if per_n:
                if noisy:
                    v = variance[b, m]
                    for n in range(N):
                        z[n] *= np.sqrt(max(v[n] + white[bw, 0, n], np.float32(0)))
                else:
                    for n in range(N):
                        z[n] *= np.sqrt(white[bw, 0, n])
                for n in range(N):
                    row[n] = (row[n] + z[n]) * scale[bs, 0, n] + bias[bb, 0, n]
            else:
                w, s, d = white[bw, m, 0], scale[bs, m, 0], bias[bb, m, 0]
                if noisy:
                    v = variance[b, m]
                    for n in range(N):
                        z[n] *= np.sqrt(max(v[n] + w, np.float32(0)))
                else:
                    sd = np.sqrt(w)
                    for n in range(N):
                        z[n] *= sd
                for n in range(N):
                    row[n] = (row[n] + z[n]) * s + d


@numba.njit(cache=True, nogil=True, fastmath=True)
def _convert(first, last, key, counters, table, variance, part, step, half, weight, out):  # type: ignore[no-untyped-def]
    """Read noise, conversion and shift-and-add of the slices of one tile.

    ``part`` (images, S, O, P), ``variance`` the same or empty, ``step`` (images, S), ``out`` (images, O, P).
    """
    words = np.empty(_STRIP, np.uint64)
    _images, S, M, N = part.shape
    z = np.empty(N, np.float32)
    noisy = variance.shape[0] > 0
    low, high = np.float32(-half), np.float32(half - 1)
    for b in range(first, last):
        c = counters[b]
        for s in range(S):
            d = step[b, s]
            inverse, factor = np.float32(1) / d, d * weight[s]
            for m in range(M):
                row, o = part[b, s, m], out[b, m]
                if noisy:
                    _normals(key, c, table, words, z)
                    c += np.uint64((N + 3) // 4)
                    v = variance[b, s, m]
                    for n in range(N):
                        row[n] += z[n] * np.sqrt(max(v[n], np.float32(0)))
                for n in range(N):
                    o[n] += min(max(np.rint(row[n] * inverse), low), high) * factor


@cache
def _pool(process: int) -> tuple[ThreadPoolExecutor, int]:
    threads = os.cpu_count() or 1
    return ThreadPoolExecutor(threads), threads


def over_images(work: Callable[[int, int], None], images: int) -> None:
    """``work(first, last)`` on shares of the images, one thread each."""
    pool, most = _pool(os.getpid())
    parts = min(most, torch.get_num_threads(), images)
    if parts <= 1:
        work(0, images)
        return
    edges = np.linspace(0, images, parts + 1).astype(int)
    list(pool.map(work, edges[:-1].tolist(), edges[1:].tolist()))


class ReadNoise:
    """The random numbers of one layer.

    Args:
        seed, name: what they are keyed by.
    """

    def __init__(self, seed: int, name: str) -> None:
        self.seed, self.name = seed, name
        self._mix = np.uint64(derive_key(seed, "crossbar", name, "mix"))

    def counters(self, images: tuple[int, ...], step: int) -> NDArray[np.uint64]:
        """Where each image's numbers begin in this layer at this step: uint64 (images,)."""
        return np.array([derive_key(self.seed, "crossbar", i % 2**64, step) for i in images], np.uint64)

    def cells(self, purpose: str, count: int) -> NDArray[np.float32]:
        """Frozen normals of the cells: float32 (count,)."""
        out = np.empty((1, count), np.float32)
        start = np.array([derive_key(self.seed, "crossbar", self.name, purpose)], np.uint64)
        _fill(0, 1, self._mix, start, normal_table(), out)
        return out[0]

    def chosen(self, purpose: str, count: int, share: float) -> NDArray[np.int64]:
        """Cells chosen independently with probability ``share``: sorted indices."""
        from voltaspin.random.streams import Stream

        if share <= 0:
            return np.empty(0, np.int64)
        # distances between chosen cells are geometric
        stream, found, at, drawn = Stream.of(self.seed, "crossbar", self.name, purpose), [], -1, 0
        if share >= 1:
            return np.arange(count)
        while at < count:
            n = int(count * share * 1.1) + 64
            u = stream.uniforms(n, start=drawn)
            drawn += n
            gaps = np.floor(np.log(u) / np.log1p(-share)) + 1
            places = at + np.cumsum(gaps)
            found.append(places[places < count].astype(np.int64))
            at = int(min(places[-1], 2.0**62))
        return np.concatenate(found)

    def normals(self, counters: NDArray[np.uint64], each: int) -> NDArray[np.float32]:
        """float32 (images, each)."""
        out = np.empty((len(counters), each), np.float32)
        over_images(lambda a, b: _fill(a, b, self._mix, counters, normal_table(), out), len(counters))
        return out

    def like(self, x: torch.Tensor, counters: NDArray[np.uint64]) -> torch.Tensor:
        """Normals in the shape and on the device of ``x`` (images, ...)."""
        return torch.from_numpy(self.normals(counters, x[0].numel())).view(x.shape).to(x.device)

    def finish(
        self, counters: NDArray[np.uint64], y: NDArray[np.float32], *, variance: NDArray[np.float32] | None,
        white: NDArray[np.float32], scale: NDArray[np.float32], bias: NDArray[np.float32],
    ) -> None:  # fmt: skip
        """``y = (y + sqrt(variance + white) z) scale + bias`` in place; see :func:`_finish` for the shapes."""
        v = np.empty((0, 0, 0), np.float32) if variance is None else variance
        table = normal_table()
        over_images(lambda a, b: _finish(a, b, self._mix, counters, table, v, white, scale, bias, y), len(y))

    def convert(
        self, counters: NDArray[np.uint64], part: NDArray[np.float32], *, variance: NDArray[np.float32] | None,
        step: NDArray[np.float32], bits: int, weight: NDArray[np.float32], out: NDArray[np.float32],
    ) -> None:  # fmt: skip
        """Read noise, conversion and shift-and-add; see :func:`_convert` for the shapes."""
        v = np.empty((0, 0, 0, 0), np.float32) if variance is None else variance
        table, half = normal_table(), 2 ** (bits - 1)
        over_images(
            lambda a, b: _convert(a, b, self._mix, counters, table, v, part, step, half, weight, out), len(part)
        )
