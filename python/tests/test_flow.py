"""`proxflow.Flow`: the command's numbers, scikit-learn's conventions, refusals, interrupts."""

import copy
import gc
import inspect
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import proxflow
import pytest
from conftest import FLOW

needs_command = pytest.mark.skipif(FLOW is None, reason="PROXFLOW_FLOW names no command")
QUICK = {"iterations": 10, "batch": 100, "gap_samples": 30, "n_threads": 1}


def circle(n, seed=0):
    angle = np.random.default_rng(seed).uniform(0, 2 * np.pi, n)
    return np.stack([5.0 + 3.0 * np.cos(angle), np.sin(angle)], axis=1)


@pytest.fixture(scope="module")
def fitted():
    return proxflow.Flow(**QUICK, seed=3).fit(circle(60))


def tensors(run):
    """Tensors and metadata of a safetensors file, by numpy alone."""
    content = (Path(run) / "checkpoint.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header, body = json.loads(content[8 : 8 + length]), content[8 + length :]
    metadata = header.pop("__metadata__")
    types = {"F32": np.float32, "F64": np.float64}
    read = {
        name: np.frombuffer(body[slice(*entry["data_offsets"])], types[entry["dtype"]]).reshape(entry["shape"]).astype(float)
        for name, entry in header.items()
        if entry["dtype"] in types
    }
    return read, metadata


def hopf_lax(run, x, t):
    """``U(x, t)`` and ``-grad U / lam`` in standardised units, from the formula of the guide."""
    read, metadata = tensors(run)
    y, psi = read["potential.prototypes"], read["potential.heights"]
    horizon, lam, lipschitz = (float(metadata[key]) for key in ("horizon", "lambda", "lipschitz"))
    r = np.linalg.norm(x[:, None] - y[None], axis=2)
    s = np.minimum(r, lipschitz * (horizon - t) / lam)
    values = psi + lam * s**2 / (2 * (horizon - t)) + lipschitz * (r - s)
    j, i = values.argmin(axis=1), np.arange(len(x))
    speed = np.minimum(r[i, j] / (horizon - t), lipschitz / lam)
    return values[i, j], (speed / np.maximum(r[i, j], 1e-30))[:, None] * (y[j] - x)


@needs_command
def test_the_numbers_are_those_of_the_command(fitted, tmp_path):
    np.save(tmp_path / "X.npy", circle(60))
    options = ["--iterations=10", "--batch=100", "--gap-samples=30", "--threads=1", "--seed=3", "--auto", "--no-pictures"]
    subprocess.run([FLOW, "train", "--data=X.npy", "--out=run", *options], cwd=tmp_path, check=True, capture_output=True)
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    for name in ("population", "held_out", "advice", "configuration"):
        assert fitted.report_[name] == report[name]
    assert fitted.objective_ == fitted.optimum_ == tuple(report["population"]["interval"])
    assert fitted.gap_ == report["population"]["relative"] and fitted.n_iter_ == 10
    assert fitted.critical_lipschitz_ == tuple(report["advice"]["critical_lipschitz"])
    subprocess.run([FLOW, "sample", "--run=run", "--count=20", "--seed=8", "--npy=s.npy"], cwd=tmp_path, check=True, capture_output=True)
    np.testing.assert_array_equal(fitted.sample(20, seed=8), np.load(tmp_path / "s.npy"))


@needs_command
def test_seeds_reproduce(fitted):
    again = proxflow.Flow(**QUICK, seed=3).fit(circle(60))
    other = proxflow.Flow(**QUICK, seed=4).fit(circle(60))
    assert again.objective_ == fitted.objective_ != other.objective_
    np.testing.assert_array_equal(again.sample(10), fitted.sample(10))
    assert not np.array_equal(fitted.sample(10, seed=2), fitted.sample(10, seed=3))


@needs_command
def test_transform_is_the_flow_of_the_formula_and_comes_back(fitted):
    frame = fitted.report_["data"]["standardisation"]
    centre, scale = np.array(frame["centre"]), np.array(frame["scale"])
    x = np.random.default_rng(5).normal(size=(200, 2))
    _, velocity = hopf_lax(fitted.run_, x, 0.0)
    ends = fitted.transform(x * scale + centre)
    np.testing.assert_allclose((ends - centre) / scale, x + fitted.horizon_ * velocity, atol=1e-5)
    assert np.abs(velocity).max() > 0.1
    # The velocity is -grad U / lam, by central differences of U, away from the few places where two prototypes tie.
    step = 1e-6 * np.eye(2)
    slopes = np.stack([(hopf_lax(fitted.run_, x + e, 0.3)[0] - hopf_lax(fitted.run_, x - e, 0.3)[0]) / 2e-6 for e in step], axis=1)
    differences = np.abs(-slopes / fitted.lam_ - hopf_lax(fitted.run_, x, 0.3)[1]).max(axis=1)
    assert np.quantile(differences, 0.95) < 1e-6
    distinct = np.unique(ends, axis=0)
    np.testing.assert_allclose(fitted.transform(fitted.inverse_transform(distinct)), distinct, atol=0.1)


@needs_command
def test_score_is_minus_the_certified_divergence(fitted):
    new = circle(40, seed=9)
    result = fitted.divergence(new)
    assert result.status == "converged" and result.shape == (40, 40)
    assert fitted.score(new) == -result.upper <= -result.lower
    frame = fitted.report_["data"]["standardisation"]
    samples, rows = ((points - frame["centre"]) / frame["scale"] for points in (fitted.sample(40, seed=2), new))
    assert proxflow.lipschitz_divergence(samples, rows, lipschitz=fitted.lipschitz_).value == result.value
    assert fitted.score(new + [10.0, 0.0]) < fitted.score(new) - 1.0
    assert fitted.divergence(new, n=15, seed=7).shape == (15, 40)


@needs_command
def test_a_source_of_points_and_a_dense_model(tmp_path):
    source = circle(50, seed=1) + [0.0, 20.0]
    flow = proxflow.Flow(**QUICK, source=source, model="dense", f="js", steps=2, out=tmp_path / "run").fit(circle(40))
    assert flow.objective_ != flow.optimum_ and flow.objective_[0] >= flow.optimum_[0]
    assert flow.run_ == str(tmp_path / "run") and (tmp_path / "run" / "X.npy").exists()
    copied = pickle.loads(pickle.dumps(flow))
    shutil.rmtree(tmp_path / "run")
    assert copied.sample(5).shape == (5, 2) and copied.score(circle(20)) < 0.0
    y = copied.transform(source)
    assert copied.inverse_transform(y).shape == y.shape


@needs_command
def test_copies_travel_and_folders_go_with_their_objects(fitted):
    x = circle(10, seed=6)
    for other in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        assert other.run_ != fitted.run_ and os.path.isdir(other.run_)
        np.testing.assert_array_equal(other.transform(x), fitted.transform(x))
    folder = other.run_
    del other
    gc.collect()
    assert not os.path.exists(folder) and os.path.isdir(fitted.run_)


BAD = [
    ("lam", -1.0),
    ("lam", "1"),
    ("horizon", float("nan")),
    ("lipschitz", float("inf")),
    ("model", "exact"),
    ("standardise", True),
    ("held_out", 1.0),
    ("batch", 0),
    ("batch", 2.5),
    ("prototypes", 1),
    ("seed", -1),
    ("n_threads", 0),
    ("source", "cauchy"),
    ("auto", "yes"),
    ("verbose", 1),
    ("out", 3),
    ("command", 3),
]
REFUSED_BY_THE_COMMAND = [("lam", 1e300), ("f", "js"), ("f", "renyi"), ("batch", 10**9), ("case", "w1"), ("device", "tpu"), ("source", np.ones((3, 5)))]


@pytest.mark.parametrize("name, value", BAD, ids=lambda value: str(value))
def test_a_bad_parameter_is_refused_by_its_name(name, value):
    with pytest.raises(ValueError, match=r"is not allowed \(allowed: ") as caught:
        proxflow.Flow(**{"command": sys.executable, name: value}).fit(circle(20))
    assert caught.value.field == name and "\n" not in str(caught.value)


@needs_command
@pytest.mark.parametrize("name, value", REFUSED_BY_THE_COMMAND, ids=lambda value: str(value)[:8])
def test_what_the_command_refuses_keeps_the_name_of_the_parameter(name, value):
    with pytest.raises(ValueError, match=r"is not allowed \(allowed: ") as caught:
        proxflow.Flow(**{name: value}).fit(circle(20))
    assert caught.value.field == name and str(caught.value).count("allowed:") == 1


def spoilt(value):
    rows = circle(20)
    rows[3, 1] = value
    return rows


@pytest.mark.parametrize(
    "rows, word",
    [
        (spoilt(np.nan), r"X: NaN at \[3, 1\]"),
        (spoilt(np.inf), r"X: infinity at \[3, 1\]"),
        (circle(3), "3 sample"),
        (circle(20)[:, :0], "0 feature"),
        (circle(20)[:, 0], "Reshape your data"),
        (circle(20).reshape(10, 2, 2), "Reshape your data"),
        (circle(20) + 1j, "Complex data not supported"),
        (np.array([["a", "b"]] * 5), "real numbers"),
    ],
)
def test_bad_rows_are_refused(rows, word):
    with pytest.raises(ValueError, match=word):
        proxflow.Flow(command=sys.executable).fit(rows)


@needs_command
def test_refusals_of_the_rest(fitted, tmp_path):
    with pytest.raises(ValueError, match="X: column 1: constant 1 in all rows"):
        proxflow.Flow(**QUICK).fit(np.stack([np.arange(20.0), np.ones(20)], axis=1))
    with pytest.raises(ValueError, match="X has 3 features, but Flow is expecting 2"):
        fitted.transform(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="n: 0 is not allowed"):
        fitted.sample(0)
    (tmp_path / "config.toml").write_text("kept")
    with pytest.raises(ValueError, match="holds a run"):
        proxflow.Flow(out=tmp_path).fit(circle(20))
    assert os.listdir(tmp_path) == ["config.toml"]


def test_without_the_command_one_line_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.delenv("PROXFLOW_FLOW", raising=False)
    with pytest.raises(FileNotFoundError, match="not on PATH: build it .* `cargo build --release --bin flow`"):
        proxflow.Flow().fit(circle(20))
    with pytest.raises(FileNotFoundError, match="not at /no/flow"):
        proxflow.Flow(command="/no/flow").fit(circle(20))
    with pytest.raises(AttributeError, match="not fitted"):
        proxflow.Flow().transform(circle(20))
    assert not any(tmp_path.iterdir()), "a temporary folder was left"


@pytest.mark.skipif(os.name == "nt", reason="programs of POSIX")
def test_another_program_of_that_name_is_told(tmp_path):
    for script, word in (("exit 0", "is it the flow of proxflow"), ("echo no such thing >&2; exit 1", "ended with code 1: no such thing")):
        program = tmp_path / "flow"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        with pytest.raises(RuntimeError, match=word):
            proxflow.Flow(command=program).fit(circle(20))


INTERRUPTED = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
import numpy as np, proxflow, sys
print("ready", flush=True)
try:
    proxflow.Flow(iterations=10**8, batch=100, gap_samples=30, n_threads=1, out={out!r}).fit(np.random.default_rng(0).normal(size=(40, 2)))
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@needs_command
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc")
@pytest.mark.parametrize("kept", [True, False])
def test_an_interrupt_reaches_the_command(kept, tmp_path):
    out = str(tmp_path / "run") if kept else None
    child = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED.format(out=out)], stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    try:
        assert child.stdout.readline() == "ready\n"
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("*/checkpoint.safetensors")):
            assert time.monotonic() < deadline, "the training does not start"
            time.sleep(0.05)
        assert trainings(tmp_path) == 1
        child.send_signal(signal.SIGINT)
        assert child.stdout.readline() == "interrupted\n"
        child.wait(60)
    finally:
        child.kill()
        child.wait()
    assert trainings(tmp_path) == 0
    if kept:
        assert json.loads((tmp_path / "run" / "report.json").read_text())["stop_reason"] == "interrupted"
    else:
        assert not any(tmp_path.iterdir()), "a temporary folder was left"


def trainings(folder):
    """Processes that work below `folder`."""
    found = 0
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            found += os.readlink(link).startswith(str(folder))
        except OSError:
            pass
    return found


def test_parameters_are_stored_untouched():
    source = np.zeros((3, 2))
    flow = proxflow.Flow(lam=-1, source=source)
    assert flow.get_params()["lam"] == -1 and flow.get_params()["source"] is source
    assert flow.set_params(lam=2.0, seed=5) is flow and flow.lam == 2.0
    assert repr(flow.set_params(source="uniform")) == "Flow(lam=2.0, source='uniform', seed=5)"
    with pytest.raises(ValueError, match="lambda"):
        flow.set_params(**{"lambda": 1.0})
    assert set(flow.get_params()) == set(inspect.signature(proxflow.Flow).parameters)


@needs_command
def test_scikit_learn_s_own_checks():
    checks = pytest.importorskip("sklearn.utils.estimator_checks")
    flow = proxflow.Flow(**{**QUICK, "iterations": 2})
    told = checks.check_estimator(flow, on_fail=None, on_skip=None)
    failed = [f"{check['check_name']}: {check['exception']!r}" for check in told if check["status"] == "failed"]
    assert not failed, "\n".join(failed)
    assert sum(check["status"] == "passed" for check in told) >= 40
    pytest.importorskip("pandas")
    checks.check_dataframe_column_names_consistency("Flow", flow)


@needs_command
def test_in_a_pipeline_of_scikit_learn():
    pytest.importorskip("sklearn")
    from sklearn.base import clone
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipeline = make_pipeline(StandardScaler(), proxflow.Flow(**QUICK)).fit(circle(60))
    x = circle(20, seed=2)
    ends = pipeline.transform(x)
    scaler, flow = pipeline
    np.testing.assert_array_equal(ends, flow.transform(scaler.transform(x)))
    assert pipeline.score(x) == flow.score(scaler.transform(x)) < 0.0
    assert pipeline.inverse_transform(ends).shape == ends.shape
    assert "Flow(" in repr(pipeline) and clone(pipeline)[1].get_params() == flow.get_params()
