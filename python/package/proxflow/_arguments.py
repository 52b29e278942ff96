"""Arguments on their way in: any array of real numbers becomes float64 rows, and the way back is remembered."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def invalid(field: str, value: object, allowed: str) -> ValueError:
    """A ``ValueError`` with the attributes ``field``, ``value`` and ``allowed``, like those of the extension."""
    error = ValueError(f"{field}: {value} is not allowed (allowed: {allowed})")
    error.field, error.value, error.allowed = field, value, allowed  # type: ignore[attr-defined]
    return error


def as_numpy(name: str, values: Any) -> NDArray[Any]:
    """The caller's array in numpy: tensors leave their device and graph, bfloat16 (which numpy lacks) is widened."""
    if hasattr(values, "detach") and hasattr(values, "cpu"):  # a torch tensor, without importing torch
        values = values.detach().cpu()
        if str(values.dtype) == "torch.bfloat16":
            values = values.float()
        return values.numpy()
    array = np.asarray(values)
    # Kind V with a float in its name: the bfloat16 and float8 types of ml_dtypes, which JAX uses.
    if array.dtype.kind not in "biuf" and "float" not in array.dtype.name:
        raise invalid(name, f"dtype {array.dtype}", "an array of real numbers")
    return array


def points(name: str, values: Any) -> tuple[Array, NDArray[Any]]:
    """Points as ``(n, d)``: a vector holds n numbers on the line, further axes (images) are flattened. Also the array as given."""
    given = as_numpy(name, values)
    if given.ndim == 0 or given.shape[0] == 0:
        raise invalid(name, f"shape {given.shape}", "(n, d) or (n,) with n >= 1")
    rows = given.reshape(given.shape[0], -1)
    return np.ascontiguousarray(rows, dtype=np.float64), given


def matrix(name: str, values: Any) -> tuple[Array, NDArray[Any]]:
    """A cost matrix ``(n, m)`` and the array as given."""
    given = as_numpy(name, values)
    if given.ndim != 2 or 0 in given.shape:
        raise invalid(name, f"shape {given.shape}", "(n, m) with n, m >= 1")
    return np.ascontiguousarray(given, dtype=np.float64), given


def weights(name: str, values: Any, length: int, normalise: bool) -> Array | None:
    """Weights as float64, ``None`` for uniform ones. Their sum is checked by the solver unless they are to be normalised."""
    if values is None:
        return None
    array = np.ascontiguousarray(as_numpy(name, values), dtype=np.float64)
    if array.shape != (length,):
        raise invalid(name, f"shape {array.shape}", f"({length},)")
    if normalise:
        total = array.sum()
        if not (np.isfinite(total) and total > 0 and (array >= 0).all()):
            raise invalid(name, f"sum {total}", "finite weights >= 0 with a positive sum")
        array = array / total
    return array


def number(name: str, value: Any) -> float:
    """One real number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise invalid(name, repr(value), "a real number") from None


def threads(value: int | None) -> int:
    """``None`` is 0: as many as the process may use."""
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 1 <= value <= 4096:
        raise invalid("n_threads", repr(value), "None or an integer from 1 to 4096")
    return int(value)


def generator(f: Any) -> str:
    """The name of a divergence."""
    if not isinstance(f, str):
        raise invalid("f", repr(f), "'kl', 'reverse-kl', 'alpha:A', 'chi2', 'js' or 'hellinger'")
    return f


def like(array: Array, given: NDArray[Any]) -> NDArray[Any]:
    """A gradient in the shape of ``given``, and in its type if that is a floating one."""
    floating = given.dtype.kind == "f" or (given.dtype.kind == "V" and "float" in given.dtype.name)
    return array.reshape(given.shape).astype(given.dtype if floating else np.float64, copy=False)
