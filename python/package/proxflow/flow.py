"""The combined W1/W2 proximal flow on one's own data, as an estimator in scikit-learn's manner.

The training itself is done by the command ``flow`` of this repository, which needs libtorch; the wheel does not hold it.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any, Callable

import numpy as np
from numpy.typing import NDArray

from . import _arguments as arguments
from . import _command
from ._divergence import lipschitz_divergence
from ._estimator import Estimator, feature_names, table
from ._result import Result

Array = NDArray[np.float64]


def _positive(name: str, value: Any) -> str:
    number = arguments.number(name, value)
    if isinstance(value, (bool, str)) or not (np.isfinite(number) and number > 0):
        raise arguments.invalid(name, repr(value), "a finite number > 0")
    return repr(number)


def _share(name: str, value: Any) -> str:
    number = arguments.number(name, value)
    if isinstance(value, (bool, str)) or not 0.0 < number < 1.0:
        raise arguments.invalid(name, repr(value), "a share of the rows, between 0 and 1")
    return repr(number)


def _whole(least: int) -> Callable[[str, Any], str]:
    def check(name: str, value: Any) -> str:
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise arguments.invalid(name, repr(value), f"None or an integer >= {least}")
        return str(int(value))

    return check


def _one_of(*words: str) -> Callable[[str, Any], str]:
    def check(name: str, value: Any) -> str:
        if not (isinstance(value, str) and value in words):
            raise arguments.invalid(name, repr(value), "None, " + ", ".join(map(repr, words)))
        return value

    return check


def _word(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise arguments.invalid(name, repr(value), "None or a word")
    return value


# Our name -> the command's, and the check of a given value. What is more than a type or a sign is the command's to judge.
_OPTIONS: dict[str, tuple[str, Callable[[str, Any], str]]] = {
    "lam": ("lambda", _positive),
    "horizon": ("horizon", _positive),
    "lipschitz": ("lipschitz", _positive),
    "f": ("f", _word),
    "model": ("model", _one_of("hopf-lax", "dense")),
    "prototypes": ("prototypes", _whole(2)),
    "held_out": ("held-out", _share),
    "standardise": ("standardise", _one_of("columns", "global", "none")),
    "case": ("case", _one_of("w1w2", "w1", "w2", "none")),
    "iterations": ("iterations", _whole(1)),
    "batch": ("batch", _whole(1)),
    "critic_steps": ("critic-steps", _whole(1)),
    "steps": ("steps", _whole(1)),
    "penalty_weight": ("penalty-weight", _positive),
    "stop_gap": ("stop-gap", _positive),
    "gap_samples": ("gap-samples", _whole(2)),
    "seed": ("seed", _whole(0)),
    "device": ("device", _word),
    "n_threads": ("threads", _whole(1)),
}
_NAMES = {theirs: ours for ours, (theirs, _) in _OPTIONS.items()} | {"X.npy": "X", "X.npy: column": "X: column", "source.npy": "source"}
# What of a run travels in a pickle: all but the rows themselves.
_TRAVELS = ("config.toml", "data.json", "checkpoint.safetensors", "report.json", "metrics.csv", "source.npy")


class Flow(Estimator):
    """The flow that transports a source law to given data, optimal for the combined W1/W2 proximal of arXiv:2407.11901.

    ``J = lam K + D_f^L(rho_T | data)`` is minimised over flows from the source ``rho_0`` with the kinetic energy ``K`` over ``[0, T]``. Trained by
    the command ``flow`` (``flow train``), which certifies how far the result is from the optimum. Parameters left at None take the
    command's defaults; `lam`, `lipschitz`, `penalty_weight` and `steps` then follow its advice if `auto`. They are stored untouched and checked by `fit`.

    Parameters
    ----------
    lam, horizon, lipschitz : float, optional
        Kinetic weight ``lambda``, horizon ``T`` and Lipschitz constant ``L``, all ``> 0``, in the flow's (standardised) units.
    f : str, optional
        The divergence, as in `divergence`; ``'kl'`` by default and with ``model='hopf-lax'``.
    source : str or array of shape (k, d)
        ``'gaussian'``, ``'uniform'``, ``'logistic'`` (mean 0, variance 1 in standardised units) or points in the data's units.
    auto : bool
        Take the advice that the exact solver gives before training, where no value is given.
    model : {'hopf-lax', 'dense'}, optional
        The optimum on the training points (every sample is one of them or on its way to one), or networks by Algorithm 1.
    prototypes : int, optional
        Points of a Hopf-Lax potential at most; more training points are represented by as many medians.
    held_out : float, optional
        Share of the rows that the flow never sees.
    standardise : {'columns', 'global', 'none'}, optional
        Scaling of the data, undone in all outputs.
    case : {'w1w2', 'w1', 'w2', 'none'}, optional
        Proximals of a dense model.
    iterations, batch, critic_steps, steps : int, optional
        Steps of training, batch size, critic steps of a dense model, Euler steps.
    penalty_weight, stop_gap : float, optional
        Weight of the gradient penalty of a dense model; stop once ``(J - J*)/J*`` is certified below `stop_gap`.
    gap_samples : int, optional
        Source samples of the held-out batch that is certified.
    seed : int, optional
        Root seed, 1 by default: the same seed, data and `n_threads` give the same flow.
    device : str, optional
        ``'auto'``, ``'cpu'``, ``'cuda'``, ``'cuda:INDEX'`` or ``'mps'``.
    n_threads : int, optional
        Threads on the CPU; all cores by default.
    out : path, optional
        Folder of the run, which must not hold one yet. By default a temporary one that lives as long as the object.
    command : path, optional
        The program; by default ``$PROXFLOW_FLOW``, else ``flow`` on PATH.
    verbose : bool
        Pass the command's lines on to standard error.

    Attributes
    ----------
    report_ : dict
        ``report.json`` of the run: everything measured and certified, with its provenance.
    run_ : str
        The run's folder; ``cd`` there for ``flow evaluate --run .`` and ``flow plot --run .``.
    objective_, optimum_ : tuple of float
        Bounds of ``J`` of this flow and of ``J*``. With ``'hopf-lax'`` one interval over all noise holds both, three standard errors included,
        the prototypes as data; with ``'dense'`` both are certified on the held-out batch.
    gap_ : float
        ``(J - J*)/J*`` is at most this, in the same sense.
    critical_lipschitz_ : tuple of float
        Bracket of the critical Lipschitz constant ``L_c`` on the subsample of the advice.
    lam_, horizon_, lipschitz_ : float
        The parameters taken.
    n_features_in_, n_iter_ : int
        Columns of `X`; steps trained.
    feature_names_in_ : ndarray of str
        Names of the columns, where `X` had them.

    Notes
    -----
    Pickles and copies hold the run's configuration, weights and report, not `X`, and unpack into a temporary folder of their own.

    Examples
    --------
    >>> import numpy, proxflow
    >>> angle = numpy.random.default_rng(0).uniform(0, 2 * numpy.pi, 100)
    >>> X = numpy.stack([numpy.cos(angle), numpy.sin(angle)], axis=1)
    >>> flow = proxflow.Flow(iterations=20, batch=200, n_threads=1).fit(X)  # needs the command `flow`
    >>> flow.sample(3).shape, flow.transform([[2.0, 0.0]]).shape
    ((3, 2), (1, 2))
    >>> flow.objective_[0] <= flow.objective_[1], flow.score(X) <= 0.0
    (True, True)
    """

    def __init__(
        self,
        *,
        lam: float | None = None,
        horizon: float | None = None,
        lipschitz: float | None = None,
        f: str | None = None,
        source: Any = "gaussian",
        auto: bool = True,
        model: str | None = None,
        prototypes: int | None = None,
        held_out: float | None = None,
        standardise: str | None = None,
        case: str | None = None,
        iterations: int | None = None,
        batch: int | None = None,
        critic_steps: int | None = None,
        steps: int | None = None,
        penalty_weight: float | None = None,
        stop_gap: float | None = None,
        gap_samples: int | None = None,
        seed: int | None = None,
        device: str | None = None,
        n_threads: int | None = None,
        out: Any = None,
        command: Any = None,
        verbose: bool = False,
    ) -> None:
        self.lam = lam
        self.horizon = horizon
        self.lipschitz = lipschitz
        self.f = f
        self.source = source
        self.auto = auto
        self.model = model
        self.prototypes = prototypes
        self.held_out = held_out
        self.standardise = standardise
        self.case = case
        self.iterations = iterations
        self.batch = batch
        self.critic_steps = critic_steps
        self.steps = steps
        self.penalty_weight = penalty_weight
        self.stop_gap = stop_gap
        self.gap_samples = gap_samples
        self.seed = seed
        self.device = device
        self.n_threads = n_threads
        self.out = out
        self.command = command
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> Flow:
        """Trains on `X` by ``flow train``.

        Parameters
        ----------
        X : array of shape (n, d)
            Finite rows, ``n >= 4``; columns that vary, unless `standardise` is ``'global'`` or ``'none'``.
        y : None
            Ignored; there by convention.

        Returns
        -------
        Flow
            The object itself.

        Raises
        ------
        ValueError
            A parameter or `X` is refused, with ``field``, ``value``, ``allowed``.
        FileNotFoundError
            The command is not found.
        KeyboardInterrupt
            The command is stopped too. With `out` it finishes its step first and leaves a run that ``flow train --resume`` continues.
        """
        rows = table("X", X, least=4)
        options = self._options()
        source = self._source()
        folder, finalizer = self._folder()
        try:
            np.save(folder / "X.npy", rows)
            if isinstance(source, np.ndarray):
                np.save(folder / "source.npy", source)
                source = "source.npy"
            train = ["train", "--data=X.npy", "--out=.", "--no-pictures", f"--source={source}", *options]
            _command.run(self.command, train, folder, _NAMES, keep=finalizer is None, verbose=bool(self.verbose))
            self._read(folder)
        except BaseException:
            if finalizer is not None:
                finalizer()
            raise
        self._hold(folder, finalizer)
        self.n_features_in_ = rows.shape[1]
        names = feature_names(X)
        if names is not None:
            self.feature_names_in_ = names
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        return self

    def fit_transform(self, X: Any, y: Any = None) -> Array:
        """``fit(X).transform(X)``: where the rows of `X`, taken as source points, go."""
        return self.fit(X).transform(X)

    def sample(self, n: int = 1, seed: int = 1) -> Array:
        """Draws `n` points of the flow's end law, ``(n, d)`` in the data's units; the same `seed` draws the same source points."""
        self._require_fit()
        return self._on_run(["sample", f"--count={_whole(1)('n', n)}", f"--seed={_whole(0)('seed', seed)}"])

    def transform(self, X: Any) -> Array:
        """Pushes source points forward along the flow, from time 0 to T.

        Parameters
        ----------
        X : array of shape (n, d)
            Source points in the *data's* units: the source is centred at the data's mean.

        Returns
        -------
        ndarray of shape (n, d)
            Their ends, in the same units.
        """
        return self._on_run(["transport"], self._points("X", X))

    def inverse_transform(self, Y: Any) -> Array:
        """Takes end points back along the straight lines.

        With ``model='dense'`` this is ``y + (T/lambda) grad U(y, T)``. A Hopf-Lax flow takes a whole cell of the source to each prototype and has no
        inverse there: each of `Y` goes to the mean of the (50 000 drawn) source points whose end is nearest to it among `Y`, so the answer depends
        on all rows of `Y` together.

        Parameters
        ----------
        Y : array of shape (n, d)
            End points in the data's units.

        Returns
        -------
        ndarray of shape (n, d)
        """
        return self._on_run(["transport", "--backward"], self._points("Y", Y))

    def divergence(self, X: Any, *, n: int | None = None, seed: int = 2) -> Result:
        """``D_f^L`` between `n` samples of the flow (the model) and the rows of `X` (the data), exactly, by `lipschitz_divergence`.

        Both in the flow's standardised units, with the ``L`` and ``f`` of the run. `n` is by default the number of rows, 2000 at most: the value between
        finite samples depends on their numbers, so compare at equal ones.
        """
        rows = self._points("X", X)
        samples = self.sample(min(len(rows), 2000) if n is None else n, seed)
        frame = self.report_["data"]["standardisation"]
        centre, scale = np.array(frame["centre"]), np.array(frame["scale"])
        f = self.report_["configuration"]["training"]["f"]
        return lipschitz_divergence((samples - centre) / scale, (rows - centre) / scale, f=f, lipschitz=self.lipschitz_, n_threads=self.n_threads)

    def score(self, X: Any, y: Any = None) -> float:
        """Minus `divergence` of `X`: larger is better, 0 at most up to rounding.

        It is ``-result.upper``, so the exact score of these samples is at least this and at most ``-result.lower``. It speaks of ``min(n, 2000)`` samples of
        the flow drawn from seed 2, not of the law itself.
        """
        return -self.divergence(X).upper

    def _options(self) -> list[str]:
        for name in ("auto", "verbose"):
            if not isinstance(getattr(self, name), (bool, np.bool_)):
                raise arguments.invalid(name, repr(getattr(self, name)), "True or False")
        given = ((name, getattr(self, name)) for name in _OPTIONS)
        options = [f"--{_OPTIONS[name][0]}={_OPTIONS[name][1](name, value)}" for name, value in given if value is not None]
        return options + (["--auto"] if self.auto else [])

    def _source(self) -> str | Array:
        if isinstance(self.source, str):
            return _one_of("gaussian", "uniform", "logistic")("source", self.source)
        return table("source", self.source)

    def _folder(self) -> tuple[Path, Any]:
        """The folder of a new run and, if it is a temporary one, what removes it."""
        if self.out is None:
            return _temporary(self)
        if not isinstance(self.out, (str, os.PathLike)):
            raise arguments.invalid("out", repr(self.out), "None or the path of a folder")
        folder = Path(self.out).absolute()
        if any((folder / name).exists() for name in ("config.toml", "checkpoint.safetensors")):
            raise arguments.invalid("out", f"{folder} (holds a run)", "a folder without a run")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise arguments.invalid("out", f"{folder} ({error.strerror})", "a writable folder") from None
        return folder, None

    def _read(self, folder: Path) -> None:
        try:
            report = json.loads((folder / "report.json").read_text())
            taken = report["configuration"]["training"]
            whole, batch = report["population"], report["held_out"]
            both = (whole["interval"], whole["interval"]) if whole else (batch["objective"], batch["optimum"])
            gap = (whole or batch)["relative"]
            critical = report["advice"]["critical_lipschitz"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RuntimeError(f"{_command.find(self.command)} left no report that can be read ({error!r}): is it the flow of proxflow?") from None
        self.report_ = report
        self.objective_, self.optimum_ = tuple(both[0]), tuple(both[1])
        self.gap_ = gap
        self.critical_lipschitz_ = tuple(critical)
        self.lam_, self.horizon_, self.lipschitz_ = taken["lambda"], taken["horizon"], taken["lipschitz"]
        self.n_iter_ = report["iterations"]

    def _hold(self, folder: Path, finalizer: Any) -> None:
        before = getattr(self, "_finalizer", None)
        self.run_ = str(folder)
        self._finalizer = finalizer
        if before is not None:
            before()

    def _points(self, name: str, values: Any) -> Array:
        self._require_fit()
        count = getattr(values, "shape", (0, 0))[1] if len(getattr(values, "shape", ())) == 2 else None
        if count is not None:
            self._check_features(name, values, int(count))
        rows = table(name, values)
        if count is None:
            self._check_features(name, values, rows.shape[1])
        return rows

    def _on_run(self, options: list[str], points: Array | None = None) -> Array:
        """The array that a subcommand makes of the run, and of points."""
        more = [] if self.n_threads is None else [f"--threads={_OPTIONS['n_threads'][1]('n_threads', self.n_threads)}"]
        with tempfile.TemporaryDirectory(prefix="proxflow-") as folder:
            given, made = Path(folder) / "points.npy", Path(folder) / "made.npy"
            if points is not None:
                np.save(given, points)
                more.append(f"--points={given}")
            # In the run's folder, where config.toml finds a source of its own.
            _command.run(self.command, [*options, "--run=.", f"--npy={made}", *more], Path(self.run_), _NAMES, keep=False, verbose=False)
            moved: Array = np.load(made)
            return moved

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        if state.pop("run_", None) is not None:
            del state["_finalizer"]
            folder = Path(self.run_)
            state["_files"] = {name: (folder / name).read_bytes() for name in _TRAVELS if (folder / name).exists()}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        files = state.pop("_files", None)
        self.__dict__.update(state)
        if files is not None:
            folder, finalizer = _temporary(self)
            for name, content in files.items():
                (folder / name).write_bytes(content)
            self._hold(folder, finalizer)


def _temporary(owner: Flow) -> tuple[Path, Any]:
    folder = Path(tempfile.mkdtemp(prefix="proxflow-"))
    return folder, weakref.finalize(owner, _remove, folder, os.getpid())


def _remove(folder: Path, process: int) -> None:
    # A forked child holds a copy of the object, not the folder.
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)
