"""Beside other threads and processes: fork, signals, the interpreter lock, progress."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import proxflow
import pytest


def large(n=3000, d=8):
    random = np.random.default_rng(0)
    return random.normal(size=(n, d)), random.normal(size=(n, d)) + 0.3


def value_in_child(queue):
    x, z = large(200)
    queue.put(proxflow.wasserstein(x, z).value)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_solves_after_its_parent_has():
    x, z = large(200)
    expected = proxflow.wasserstein(x, z).value  # starts the pool that the child must not use
    context = multiprocessing.get_context("fork")
    for _ in range(3):
        queue = context.Queue()
        child = context.Process(target=value_in_child, args=(queue,))
        child.start()
        assert queue.get(timeout=60) == expected
        child.join(60)


INTERRUPTED = """
import signal
# A shell starts background jobs with this signal ignored, and Python then leaves it so.
signal.signal(signal.SIGINT, signal.default_int_handler)
import numpy as np, proxflow
random = np.random.default_rng(0)
x, z = random.normal(size=({n}, {d})), random.normal(size=({n}, {d})) + 0.3
print("ready", flush=True)
try:
    {call}
    print("finished", flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(
    "n, d, call",
    [
        (6000, 50, "proxflow.wasserstein(x, z, p=2)"),
        (6000, 50, "proxflow.lipschitz_divergence(x, z)"),
        (6000, 50, "proxflow.combined_proximal(x, z, lam=1.0, horizon=1.0)"),
        # More than 2 GiB of costs: computed on the fly, so that a single pass takes many seconds.
        (18000, 100, "proxflow.wasserstein(x, z, n_threads=1)"),
    ],
)
def test_an_interrupt_stops_the_solver_within_a_moment(n, d, call):
    child = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED.format(n=n, d=d, call=call)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.7)
        sent = time.monotonic()
        child.send_signal(signal.SIGINT)
        line = child.stdout.readline()
        waited = time.monotonic() - sent
    finally:
        child.kill()
        child.wait()
    assert line == "interrupted\n"
    # 0.3 s on a quiet machine; a loaded one may not even run the child for that long.
    assert waited < 0.3 + 0.5 * min(4.0, os.getloadavg()[0] / (os.cpu_count() or 1)), waited


def test_progress_is_reported_and_may_stop_the_solver():
    x, z = large(1000)
    seen = []
    proxflow.lipschitz_divergence(x, z, progress=lambda *state: seen.append(state))
    assert len(seen) >= 2
    passes, pivots, gap = zip(*seen)
    assert min(passes) >= 0 and pivots[-1] > 0 and gap[-1] < 1e-9

    def impatient(passes, pivots, gap_estimate):
        raise RuntimeError("enough")

    for call in (
        lambda: proxflow.wasserstein(x, z, progress=impatient),
        lambda: proxflow.lipschitz_divergence(x, z, progress=impatient),
        lambda: proxflow.wasserstein_batch([x, x], [z, z], progress=impatient),
    ):
        with pytest.raises(RuntimeError, match="enough"):
            call()


def test_other_threads_of_python_run_while_a_solver_works():
    x, z = large(1500)
    ticks, done = [], threading.Event()

    def tick():
        while not done.is_set():
            ticks.append(time.monotonic())
            time.sleep(0.001)

    ticker = threading.Thread(target=tick)
    ticker.start()
    start = time.monotonic()
    proxflow.wasserstein(x, z)
    spent = time.monotonic() - start
    done.set()
    ticker.join()
    # With the lock held there would be no tick in between.
    inside = [t for t in ticks if start + 0.1 * spent < t < start + 0.9 * spent]
    assert len(inside) >= 3


def test_the_number_of_threads_does_not_change_the_result():
    x, z = large(400)
    one = proxflow.lipschitz_divergence(x, z, n_threads=1)
    for threads in (2, 3, None):
        other = proxflow.lipschitz_divergence(x, z, n_threads=threads)
        assert other.value == one.value
        np.testing.assert_array_equal(other.potential_a, one.potential_a)


def test_the_import_is_light():
    code = "import sys; import numpy; before = set(sys.modules); import proxflow; print(len(set(sys.modules) - before))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = textwrap.dedent(out).strip()
    assert int(loaded) < 20, f"{loaded} modules beyond numpy"
    heavy = subprocess.run(
        [sys.executable, "-c", "import sys, proxflow; print([m for m in ('scipy', 'torch', 'jax') if m in sys.modules])"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert heavy.strip() == "[]"
