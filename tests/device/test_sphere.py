"""Operators on the sphere against their closed forms, and the fast propagator against scipy's."""

import math

import numpy as np
import pytest
from scipy.sparse.linalg import expm_multiply

from voltaspin.device.sphere import TERMS, Generator, as_sparse, basis, latitude, occupied, transposed

DEGREE = 9
SOME = np.array([1.0, 0.02, 0.3, 0.01, 0.1, 0.005, 0.002])


def values(degree: int, z: np.ndarray, phi: np.ndarray) -> np.ndarray:
    """Every harmonic at every point: (size, points)."""
    parts = latitude(degree, z)
    out = np.zeros((2 * (degree + 1), degree + 1, len(z)))
    for m in range(degree + 1):
        out[2 * m] = parts[m] * np.cos(m * phi)
        out[2 * m + 1] = parts[m] * np.sin(m * phi)
    return out.reshape(-1, len(z))


def quadrature(degree: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points and weights that integrate products of two functions of that degree exactly."""
    nodes, weights = np.polynomial.legendre.leggauss(degree + 4)
    phi = 2 * np.pi * np.arange(2 * degree + 8) / (2 * degree + 8)
    z, around = np.meshgrid(nodes, phi, indexing="ij")
    return z.ravel(), around.ravel(), np.repeat(weights, len(phi)) * 2 * np.pi / len(phi)


def some_vector(degree: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=2 * (degree + 1) ** 2) * occupied(degree)


def test_harmonics_are_orthonormal() -> None:
    z, phi, weights = quadrature(DEGREE)
    Y = values(DEGREE, z, phi)
    np.testing.assert_allclose((Y * weights) @ Y.T, np.diag(occupied(DEGREE).astype(float)), atol=1e-13)


@pytest.mark.parametrize("term", TERMS)
def test_operators_do_what_their_differential_forms_do(term: str) -> None:
    # Weak form on smooth functions f, g of low degree, so that no cut is felt: <g, A f> by quadrature of
    # gradients, taken by differences of the closed harmonics in Cartesian space.
    low = DEGREE - 3
    f, g = some_vector(low, 1), some_vector(low, 2)
    z, phi, weights = quadrature(2 * DEGREE)
    m = np.stack([np.sqrt(1 - z**2) * np.cos(phi), np.sqrt(1 - z**2) * np.sin(phi), z], axis=1)

    def at(v: np.ndarray, points: np.ndarray) -> np.ndarray:
        points = points / np.linalg.norm(points, axis=1, keepdims=True)
        return v @ values(low, points[:, 2], np.arctan2(points[:, 1], points[:, 0]))

    def gradient(v: np.ndarray) -> np.ndarray:
        h = 1e-4
        steps = [h * np.eye(3)[k] for k in range(3)]
        return np.stack(
            [(8 * (at(v, m + s) - at(v, m - s)) - (at(v, m + 2 * s) - at(v, m - 2 * s))) / (12 * h) for s in steps],
            axis=1,
        )

    axis = np.array([[0.0, 0.0, 1.0]]) if term.endswith(("K", "z")) else np.array([[1.0, 0.0, 0.0]])
    field = axis * (m[:, 2:] if term.endswith("K") else 1.0)
    F, G = at(f, m), at(g, m)
    if term.startswith("turn"):
        # -div(P v) with v = -m x B: (m x B) . grad P.
        expected = np.sum(weights * G * np.sum(np.cross(m, field) * gradient(f), axis=1))
    elif term.startswith("fall"):
        expected = np.sum(weights * F * np.sum(field * gradient(g), axis=1))  # grad g is tangential
    else:
        expected = -np.sum(weights * np.sum(gradient(f) * gradient(g), axis=1))

    def lifted(v: np.ndarray) -> np.ndarray:
        out = np.zeros((2 * (DEGREE + 1), DEGREE + 1))
        out[: 2 * (low + 1), : low + 1] = v.reshape(2 * (low + 1), low + 1)
        return out.ravel()

    operator = Generator(basis(DEGREE), (np.array(TERMS) == term).astype(float))
    # Differences of fourth order in h = 1e-4 leave rounding, 1e-16 / h, times the size of the sums.
    assert float(lifted(g) @ operator.apply(lifted(f))) == pytest.approx(expected, rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("adjoint", [False, True])
def test_propagation_equals_scipys_exponential(adjoint: bool) -> None:
    generator, v = Generator(basis(DEGREE), 3 * SOME), some_vector(DEGREE)
    A = as_sparse(generator.basis, generator.diagonals)
    expected = expm_multiply((A.T if adjoint else A) * 5.0, v)
    np.testing.assert_allclose(generator.propagate(v, 5.0, adjoint=adjoint), expected, atol=1e-12)


@pytest.mark.parametrize("weights", [np.eye(7)[6], np.eye(7)[0] * 1e3, np.zeros(7), SOME * [1, 50, 1, 50, 1, 50, 100]])
def test_propagation_at_the_edges_of_the_spectrum(weights: np.ndarray) -> None:
    generator, v = Generator(basis(DEGREE), weights), some_vector(DEGREE)
    expected = expm_multiply(as_sparse(generator.basis, generator.diagonals) * 0.7, v)
    np.testing.assert_allclose(generator.propagate(v, 0.7), expected, atol=1e-11)


def test_extent_holds_the_spectrum() -> None:
    for seed in range(5):
        weights = np.random.default_rng(seed).exponential(size=7) * [1, 0.05, 1, 0.05, 1, 0.05, 0.01]
        generator = Generator(basis(DEGREE), weights)
        used = occupied(DEGREE)
        A = as_sparse(generator.basis, generator.diagonals).toarray()[used][:, used]
        depth, height = generator.extent()
        # Of the numerical range, which bounds the expansion of a matrix that is not normal.
        assert np.linalg.eigvalsh((A + A.T) / 2).min() >= -depth
        assert np.abs(np.linalg.eigvals((A - A.T) / 2)).max() <= height


def test_probability_is_conserved() -> None:
    generator = Generator(basis(DEGREE), SOME)
    A = as_sparse(generator.basis, generator.diagonals)
    assert abs(A[[0]]).max() == 0


def test_transposed_is_the_transpose() -> None:
    generator = Generator(basis(5), SOME)
    A = as_sparse(generator.basis, generator.diagonals).toarray()
    offsets, diagonals = transposed(generator.basis, generator.diagonals)
    v = some_vector(5)
    out = np.zeros_like(v)
    for offset, diagonal in zip(offsets, diagonals, strict=True):
        for i in np.flatnonzero(diagonal):
            out[i] += diagonal[i] * v[i + offset]
    np.testing.assert_allclose(out, A.T @ v, atol=1e-13)


def test_slope_is_the_derivative_of_the_exponential() -> None:
    g, v, dv = basis(DEGREE), some_vector(DEGREE), some_vector(DEGREE, 3)
    d = np.array([0.3, -0.02, 0.1, 0.03, -0.2, 0.01, 0.001])
    for adjoint in (False, True):
        value, slope = Generator(g, SOME).propagate_with_slope(v, dv, d, 2.0, adjoint=adjoint)
        np.testing.assert_allclose(value, Generator(g, SOME).propagate(v, 2.0, adjoint=adjoint), atol=1e-12)
        h = 1e-4
        high, low = (Generator(g, SOME + s * h * d).propagate(v + s * h * dv, 2.0, adjoint=adjoint) for s in (1, -1))
        np.testing.assert_allclose(slope, (high - low) / (2 * h), atol=3e-7 * math.sqrt(v @ v))
