"""The conventions of scikit-learn, without needing it: parameters, tags, and tables of numbers on their way in."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _arguments as arguments

Array = NDArray[np.float64]


class Estimator:
    """Parameters are those of ``__init__``, stored untouched under their names."""

    n_features_in_: int

    @classmethod
    def _defaults(cls) -> dict[str, Any]:
        parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
        return {parameter.name: parameter.default for parameter in parameters}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters by name. `deep` changes nothing: none of them is an estimator."""
        return {name: getattr(self, name) for name in self._defaults()}

    def set_params(self, **params: Any) -> Any:
        """Sets parameters by name and returns the object; they are checked by ``fit``."""
        known = self._defaults()
        for name in params:
            if name not in known:
                raise arguments.invalid(name, "a parameter of that name", ", ".join(known))
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = self._defaults()
        own = ((name, value) for name, value in self.get_params().items() if value is not defaults[name])
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in own)})"

    def __sklearn_tags__(self) -> Any:
        # Only scikit-learn asks for it, so it is there.
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(preserves_dtype=[]),
            input_tags=InputTags(),
        )

    def _require_fit(self) -> None:
        if hasattr(self, "n_features_in_"):
            return
        line = f"This {type(self).__name__} instance is not fitted yet: call 'fit' first"
        try:
            from sklearn.exceptions import NotFittedError
        except ImportError:
            raise AttributeError(line) from None
        raise NotFittedError(line)

    def _check_features(self, name: str, values: Any, count: int) -> None:
        """Refuses columns that are not those of ``fit``."""
        known, given = getattr(self, "feature_names_in_", None), feature_names(values)
        mine = type(self).__name__
        if known is not None and given is None:
            warnings.warn(f"{name} does not have valid feature names, but {mine} was fitted with feature names", UserWarning, stacklevel=3)
        elif known is None and given is not None:
            warnings.warn(f"{name} has feature names, but {mine} was fitted without feature names", UserWarning, stacklevel=3)
        elif known is not None and given is not None and list(known) != list(given):
            raise ValueError("The feature names should match those that were passed during fit.\n" + _difference(list(known), list(given)))
        if count != self.n_features_in_:
            line = f"{name} has {count} features, but {mine} is expecting {self.n_features_in_} features as input"
            raise refusal(line, name, f"{count} features", f"{self.n_features_in_}")


def refusal(line: str, field: str, value: object, allowed: str) -> ValueError:
    """A ``ValueError`` in words that scikit-learn's users know, with the attributes of this package's own."""
    error = arguments.invalid(field, value, allowed)
    error.args = (line,)
    return error


def feature_names(values: Any) -> NDArray[Any] | None:
    """The names of the columns where `values` is a table with names that are all strings."""
    columns = getattr(values, "columns", None)
    if columns is None:
        return None
    names = list(columns)
    return np.array(names, dtype=object) if names and all(isinstance(name, str) for name in names) else None


def _difference(known: list[str], given: list[str]) -> str:
    parts = [("unseen at fit time", set(given) - set(known)), ("seen at fit time, yet now missing", set(known) - set(given))]
    lines = []
    for word, names in parts:
        if names:
            lines.append(f"Feature names {word}:\n" + "".join(f"- {name}\n" for name in sorted(names)[:5]))
            lines.extend(["- ...\n"] if len(names) > 5 else [])
    return "".join(lines) or "Feature names must be in the same order as they were in fit.\n"


def table(name: str, values: Any, least: int = 1) -> Array:
    """Finite real numbers ``(n, d)`` with ``n >= least``, ``d >= 1``, as float64."""
    if hasattr(values, "toarray"):
        raise TypeError(f"{name}: sparse data was passed, but dense data is required; use '.toarray()'")
    if hasattr(values, "detach"):
        values = arguments.as_numpy(name, values)
    array = np.asarray(values)
    if array.dtype.kind == "c":
        raise refusal(f"Complex data not supported: {name}: dtype {array.dtype}", name, f"dtype {array.dtype}", "real numbers")
    if array.ndim != 2:
        line = f"{name}: expected a 2D array, got shape {array.shape} instead. Reshape your data: (-1, 1) for one feature, (1, -1) for one sample"
        raise refusal(line, name, f"shape {array.shape}", "(n, d)")
    if array.dtype.kind == "O":
        array = array.astype(np.float64)  # a TypeError or ValueError that names the entry
    else:
        array = arguments.as_numpy(name, array).astype(np.float64)
    for word, count, required in (("sample", array.shape[0], least), ("feature", array.shape[1], 1)):
        if count < required:
            line = f"{name}: {count} {word}(s) (shape={array.shape}) while a minimum of {required} is required."
            raise refusal(line, name, f"shape {array.shape}", f"(n, d) with n >= {least}, d >= 1")
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        row, column = map(int, bad[0])
        value = "NaN" if np.isnan(array[row, column]) else "infinity"
        raise arguments.invalid(name, f"{value} at [{row}, {column}]", "finite numbers")
    return np.ascontiguousarray(array)
