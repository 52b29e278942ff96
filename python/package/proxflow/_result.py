"""What the solvers return."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _arguments as arguments
from ._proxflow import Flow, Solution

if TYPE_CHECKING:
    from scipy.sparse import coo_array

Array = NDArray[np.float64]


class Result:
    """A value between certified bounds, with its plan, potentials and gradients.

    Arrays are made when they are asked for. The positions that gradients and potentials refer to were copied when the problem
    was solved: changing the caller's arrays afterwards changes nothing here.

    Attributes
    ----------
    value : float
        The value of the plan, equal to `upper`.
    lower, upper : float
        Certified bounds of the true value: a dual value and a primal one, both evaluated independently of the solver.
    gap : float
        ``upper - lower``.
    status : str
        ``'converged'`` when the gap meets the tolerance, else ``'stalled'``, ``'iteration limit'``, ``'infeasible'`` (no plan
        avoids the forbidden pairs: the value is ``inf``) or ``'failed'``. The bounds hold whatever it says.
    transport : float
        ``<c, G>``, the transport part of the value (``W2**2`` for `wasserstein` with ``p=2``).
    divergence : float or None
        ``D_f(eta | b)``, the other part; None where both marginals are fixed.
    shape : tuple of int
        ``(n, m)``.
    passes, pivots : int
        Passes over the cost and arcs exchanged by the solver.
    seconds : float
        Wall-clock time of the solution, certificate included.
    """

    __slots__ = ("_solution", "_given_a", "_given_b", "_threads")

    def __init__(
        self, solution: Solution, given_a: NDArray[Any] | None, given_b: NDArray[Any] | None, threads: int
    ) -> None:
        self._solution = solution
        self._given_a = given_a
        self._given_b = given_b
        self._threads = threads

    @property
    def value(self) -> float:
        return self._solution.upper

    @property
    def lower(self) -> float:
        return self._solution.lower

    @property
    def upper(self) -> float:
        return self._solution.upper

    @property
    def gap(self) -> float:
        return self._solution.upper - self._solution.lower

    @property
    def status(self) -> str:
        return self._solution.status

    @property
    def transport(self) -> float:
        return self._solution.transport

    @property
    def divergence(self) -> float | None:
        return self._solution.divergence

    @property
    def shape(self) -> tuple[int, int]:
        return self._solution.shape

    @property
    def passes(self) -> int:
        return self._solution.passes

    @property
    def pivots(self) -> int:
        return self._solution.pivots

    @property
    def seconds(self) -> float:
        return self._solution.seconds

    def __float__(self) -> float:
        return self.value

    def __repr__(self) -> str:
        n, m = self.shape
        name = type(self).__name__
        return f"{name}(value={self.value!r}, gap={self.gap:.1e}, status={self.status!r}, n={n}, m={m})"

    @property
    def plan(self) -> Array:
        """ndarray of shape (n, m): the optimal plan G. `sparse_plan` needs less memory."""
        return self._solution.dense_plan()

    @property
    def arcs(self) -> tuple[NDArray[np.int32], NDArray[np.int32], Array]:
        """Row indices, column indices and masses of the plan: at most ``n + m - 1`` entries, all positive."""
        return self._solution.arcs()

    @property
    def sparse_plan(self) -> coo_array:
        """scipy.sparse.coo_array of shape (n, m): the optimal plan. Needs SciPy; `arcs` does not."""
        from scipy.sparse import coo_array

        rows, columns, masses = self._solution.arcs()
        return coo_array((masses, (rows, columns)), shape=self.shape)

    @property
    def potential_a(self) -> Array:
        """ndarray of shape (n,): the potential phi at the sources, ``phi_i = min_j (c_ij + psi_j)``."""
        return self._solution.potential_a()

    @property
    def potential_b(self) -> Array:
        """ndarray of shape (m,): the potential psi at the targets.

        With fixed marginals ``value = <a, phi> - <b, psi>``: it is *minus* what POT calls ``v``. With a free second marginal
        ``value = <a, phi> - Lambda(psi)``.
        """
        return self._solution.potential_b()

    @property
    def marginal_b(self) -> Array:
        """ndarray of shape (m,): the second marginal of the plan, the intermediate measure eta where it is free."""
        return self._solution.marginal_b()

    @property
    def stayed(self) -> Array:
        """ndarray of shape (n,) or (0,): mass left at the sources, with ``singular='priced'`` only."""
        return self._solution.stayed()

    def potential(self, y: Any) -> Array:
        """The potential phi at new points: the largest optimal one, ``min_j (c(y, z_j) + psi_j)``.

        For `lipschitz_divergence` it is the optimal discriminator, ``L``-Lipschitz on all of R^d; for `wasserstein` the
        Kantorovich potential of ``|x - z|**p``; for `combined_proximal` the terminal discriminator.

        Parameters
        ----------
        y : array of shape (k, d)
            New points, in the units of ``X_a``.

        Returns
        -------
        ndarray of shape (k,)

        Examples
        --------
        >>> import proxflow
        >>> w1 = proxflow.wasserstein([[0.0], [1.0]], [[2.0], [3.0]])
        >>> phi = w1.potential([[0.0], [0.5], [1.0]])
        >>> (phi - phi[0]).tolist()
        [0.0, -0.5, -1.0]
        """
        rows, _ = arguments.points("y", y)
        return self._potential_at(rows)[0]

    def potential_gradient(self, y: Any) -> NDArray[Any]:
        """The gradient of `potential` at new points.

        At a source atom that splits its mass the potential has a kink: to move the atoms use `gradient_a`, which comes from
        the plan.

        Parameters
        ----------
        y : array of shape (k, d)

        Returns
        -------
        ndarray of the shape of `y`, in its type if that is a floating one
        """
        rows, given = arguments.points("y", y)
        return arguments.like(self._potential_at(rows)[1], given)

    def _potential_at(self, rows: Array) -> tuple[Array, Array]:
        return self._solution.potential_at(rows, self._threads)

    @property
    def gradient_a(self) -> NDArray[Any]:
        """Gradient of the value in the positions ``X_a``, of their shape and floating type: ``sum_j G_ij grad_x c(x_i, z_j)``."""
        return self._gradient(0, self._given_a)

    @property
    def gradient_b(self) -> NDArray[Any]:
        """Gradient of the value in the positions ``X_b``, of their shape and floating type."""
        return self._gradient(1, self._given_b)

    def _gradient(self, side: int, given: NDArray[Any] | None) -> NDArray[Any]:
        gradient = self._solution.position_gradients()[side]
        return gradient if given is None else arguments.like(gradient, given)

    @property
    def weights_gradient_a(self) -> Array:
        """ndarray of shape (n,): derivative of the value in the weights ``a``, in the gauge ``<a, g> = 0``.

        That is the derivative through ``a / a.sum()``. Where the optimal potentials are not unique it is one of several.
        """
        return self._solution.weights_gradient_a()

    @property
    def weights_gradient_b(self) -> Array:
        """ndarray of shape (m,): derivative of the value in the weights ``b``, in the gauge ``<b, g> = 0``."""
        return self._solution.weights_gradient_b()


class ProximalResult(Result):
    """The optimum of the combined proximal with its flow.

    The flow consists of k particles, one for every arc of the plan, each with a mass, a start (an atom of ``X_a``) and an end.

    Attributes
    ----------
    kinetic_energy : float
        ``K* = W2(rho_0, rho_T)**2 / (2 T)``; ``lam * K*`` is its share of the value.
    first_transport : float
        ``L W1(rho_T, eta)``, the share of the first Wasserstein distance.
    lam, horizon, lipschitz : float
        The parameters of the problem.
    """

    __slots__ = ("lam", "horizon", "lipschitz")

    lam: float
    horizon: float
    lipschitz: float

    @property
    def _flow(self) -> Flow:
        flow = self._solution.flow
        assert flow is not None
        return flow

    @property
    def kinetic_energy(self) -> float:
        return self._flow.kinetic_energy

    @property
    def first_transport(self) -> float:
        return self._flow.first_transport

    @property
    def endpoints(self) -> Array:
        """ndarray of shape (k, d): where the particles end; with `masses` the generated law rho_T."""
        return self._flow.positions(self.horizon)

    @property
    def masses(self) -> Array:
        """ndarray of shape (k,): masses of the particles, of sum 1."""
        return self._flow.masses()

    @property
    def sources(self) -> NDArray[np.int64]:
        """ndarray of shape (k,): the row of ``X_a`` at which each particle starts."""
        return self._flow.sources()

    @property
    def targets(self) -> NDArray[np.int64]:
        """ndarray of shape (k,): the row of ``X_b`` each particle is matched to; -1 for mass that stays where it is."""
        return self._flow.targets()

    @property
    def velocities(self) -> Array:
        """ndarray of shape (k, d): constant velocities, of norm at most ``lipschitz / lam``."""
        return self._flow.velocities()

    @property
    def critical_lipschitz(self) -> float:
        """A lower bound of the critical Lipschitz constant: ``lam r / T``, r the longest distance a particle travels.

        Where it is below `lipschitz` no particle was held back, and the first Wasserstein distance plays no part in the optimum.
        """
        speeds = np.linalg.norm(self.velocities, axis=1)
        return float(self.lam * speeds.max())

    def positions(self, t: float) -> Array:
        """Positions of the particles at time `t` in ``[0, horizon]``, shape (k, d)."""
        return self._flow.positions(arguments.number("t", t))

    def value_function(self, y: Any, t: float = 0.0) -> Array:
        """The solution of the Hamilton-Jacobi equation ``U(y, t)``, shape (k,), at the points `y` of shape (k, d).

        ``U(y, t) = min_z { phi(z) + lam |y - z|**2 / (2 (T - t)) }`` (Hopf-Lax), ``U(., T) = phi``.
        """
        rows, _ = arguments.points("y", y)
        return self._flow.value_function(rows, arguments.number("t", t), self._threads)[0]

    def velocity(self, y: Any, t: float = 0.0) -> NDArray[Any]:
        """The optimal velocity ``-grad U(y, t) / lam`` at the points `y`, in their shape and floating type."""
        rows, given = arguments.points("y", y)
        gradients = self._flow.value_function(rows, arguments.number("t", t), self._threads)[1]
        return arguments.like(-gradients / self.lam, given)

    def _potential_at(self, rows: Array) -> tuple[Array, Array]:
        return self._flow.value_function(rows, self.horizon, self._threads)


class Gap:
    """How far a flow is from optimal: ``J(flow) - J*`` between two bounds.

    Attributes
    ----------
    value : float
        ``upper``.
    lower, upper : float
        Bounds of the true difference, which is never negative.
    objective : tuple of float
        Bounds of ``J(flow) = lam K + D_f^L(x_N | data)``.
    optimum : tuple of float
        Bounds of ``J*``.
    terminal : tuple of float
        Bounds of ``D_f^L`` of the end points.
    kinetic_energy, optimal_kinetic_energy : float
        ``K`` of the flow and ``K*``.
    """

    __slots__ = ("lower", "upper", "objective", "optimum", "terminal", "kinetic_energy", "optimal_kinetic_energy")

    def __init__(self, numbers: list[float]) -> None:
        lower, upper, j_lower, j_upper, kinetic, d_lower, d_upper, o_lower, o_upper, optimal_kinetic = numbers
        self.lower = lower
        self.upper = upper
        self.objective = (j_lower, j_upper)
        self.terminal = (d_lower, d_upper)
        self.optimum = (o_lower, o_upper)
        self.kinetic_energy = kinetic
        self.optimal_kinetic_energy = optimal_kinetic

    @property
    def value(self) -> float:
        return self.upper

    def __float__(self) -> float:
        return self.value

    def __repr__(self) -> str:
        return f"Gap(lower={self.lower!r}, upper={self.upper!r}, objective={self.objective}, optimum={self.optimum})"
