"""runtime: one seed, one thread, exact numbers."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from utils import runtime

PROBE = """
import json, numpy, scipy.linalg, torch
from threadpoolctl import threadpool_info
from utils import runtime
runtime.seed_everything(0)
print(json.dumps([torch.get_num_threads(), [p["num_threads"] for p in threadpool_info()],
                  runtime.environment()]))
"""


def probe(**environment: str) -> list:
    """Threads and environment in a process of its own, without this one's settings."""
    clean = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    done = subprocess.run([sys.executable, "-c", PROBE], env={**clean, **environment},
                          capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_one_seed_fixes_all_three_generators() -> None:
    def draws() -> tuple:
        rng = runtime.seed_everything(7)
        return rng.random(), np.random.rand(), torch.rand(1).item()

    assert draws() == draws()
    with pytest.raises(ValueError, match="whole number"):
        runtime.seed_everything(-1)


def test_device_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOK_DEVICE", "meta")
    assert runtime.device().type == "meta"


def test_one_thread_everywhere_by_default() -> None:
    torch_threads, others, environment = probe()
    assert torch_threads == 1 and set(others) == {1}
    assert environment["threads"] == 1


def test_a_reader_may_take_more_threads() -> None:
    torch_threads, others, environment = probe(BOOK_THREADS="2")
    assert torch_threads == 2 and environment["threads"] == 2
    assert set(others) == {2}


@pytest.mark.parametrize("wrong", ["0", "many", "-1", "1.5"])
def test_a_wrong_number_of_threads_is_refused(wrong: str, monkeypatch) -> None:
    monkeypatch.setenv("BOOK_THREADS", wrong)
    with pytest.raises(ValueError, match=f"BOOK_THREADS must be a whole number.*{wrong}"):
        runtime.seed_everything(0)


def test_float32_is_exact_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """TF32 is off, and deterministic kernels are asked for where the device is CUDA."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    try:
        runtime.exact_arithmetic(torch.device("cuda"))
        assert not torch.backends.cuda.matmul.allow_tf32
        assert not torch.backends.cudnn.allow_tf32
        assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.benchmark
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    finally:
        runtime.exact_arithmetic(torch.device("cpu"))
    assert not torch.are_deterministic_algorithms_enabled()


def test_environment_is_that_of_this_machine() -> None:
    found = runtime.environment()
    assert found["processor"].endswith(torch.backends.cpu.get_cpu_capability())
    assert len(found["processor"].split()) >= 2
    assert found["torch"] == torch.__version__
    assert json.loads(json.dumps(found)) == found
    assert any(p["internal_api"] == "openmp" for p in threadpool_info())


def test_timer_measures() -> None:
    with runtime.Timer() as timer:
        sum(range(1000))
    assert 0 < timer.seconds < 5
