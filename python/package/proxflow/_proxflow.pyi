"""The extension module; its functions take and return lists, one entry per problem. Private: call the package's functions."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Indices = NDArray[np.int32]
Progress = Callable[[int, int, float], object] | None
Weights = Sequence[Vector | None]

__version__: str

class Flow:
    kinetic_energy: float
    first_transport: float
    def masses(self) -> Vector: ...
    def sources(self) -> NDArray[np.int64]: ...
    def targets(self) -> NDArray[np.int64]: ...
    def positions(self, time: float) -> Matrix: ...
    def velocities(self) -> Matrix: ...
    def value_function(self, points: Matrix, time: float, threads: int) -> tuple[Vector, Matrix]: ...

class Solution:
    lower: float
    upper: float
    transport: float
    divergence: float | None
    status: str
    passes: int
    pivots: int
    seconds: float
    shape: tuple[int, int]
    flow: Flow | None
    def arcs(self) -> tuple[Indices, Indices, Vector]: ...
    def dense_plan(self) -> Matrix: ...
    def potential_a(self) -> Vector: ...
    def potential_b(self) -> Vector: ...
    def marginal_b(self) -> Vector: ...
    def stayed(self) -> Vector: ...
    def weights_gradient_a(self) -> Vector: ...
    def weights_gradient_b(self) -> Vector: ...
    def position_gradients(self) -> tuple[Matrix, Matrix]: ...
    def potential_at(self, points: Matrix, threads: int) -> tuple[Vector, Matrix]: ...

def transport(
    costs: Sequence[Matrix], a: Weights, b: Weights, threads: int, progress: Progress
) -> list[Solution]: ...
def wasserstein(
    x_a: Sequence[Matrix],
    x_b: Sequence[Matrix],
    a: Weights,
    b: Weights,
    order: int,
    squared: bool,
    threads: int,
    progress: Progress,
) -> list[Solution]: ...
def semi_relaxed(
    costs: Sequence[Matrix], a: Weights, b: Weights, f: str, tol: float, threads: int, progress: Progress
) -> list[Solution]: ...
def lipschitz_divergence(
    x_a: Sequence[Matrix],
    x_b: Sequence[Matrix],
    a: Weights,
    b: Weights,
    f: str,
    lipschitz: float,
    priced: bool,
    tol: float,
    threads: int,
    progress: Progress,
) -> list[Solution]: ...
def combined_proximal(
    x_a: Sequence[Matrix],
    x_b: Sequence[Matrix],
    a: Weights,
    b: Weights,
    f: str,
    lipschitz: float,
    lam: float,
    horizon: float,
    priced: bool,
    tol: float,
    threads: int,
    progress: Progress,
) -> list[Solution]: ...
def divergence(p: Vector, q: Vector, f: str) -> float: ...
def optimality_gap(
    trajectories: NDArray[np.float64],
    data: Matrix,
    weights: Vector | None,
    data_weights: Vector | None,
    times: Vector | None,
    f: str,
    lipschitz: float,
    lam: float,
    horizon: float,
    tol: float,
    threads: int,
    progress: Progress,
) -> list[float]: ...
