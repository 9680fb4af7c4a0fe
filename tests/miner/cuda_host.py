"""Compiles CUDA C with the machine's C compiler: a function plays all threads of a kernel."""

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

HEADERS = Path(__file__).parent / "cuda_on_host"
FAKE = Path(__file__).parent / "fake_cuda"
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-Wno-unused-parameter")


def compiler() -> str | None:
    """The C compiler, if there is one."""
    return shutil.which(os.environ.get("CC", "cc"))


def compile_for_host(source: str, options: Sequence[str], directory: Path) -> Any:
    """The function `launch` of launch.h; made once per source, options and directory."""
    found = compiler()
    assert found is not None
    text = f'#include "shim.h"\n{source}\n#include "launch.h"\n'
    told = hashlib.sha256(repr((text, list(options))).encode()).hexdigest()[:16]
    library = directory / f"{told}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=directory) as made_in:
            made = Path(made_in) / "made.so"
            command = [found, "-O2", "-std=gnu11", "-shared", "-fPIC", *WARNINGS, *options]
            command += [f"-I{HEADERS}", "-x", "c", "-", "-o", str(made)]
            subprocess.run(command, input=text, text=True, check=True)
            made.rename(library)
    launch = ctypes.CDLL(str(library)).launch
    launch.restype = None
    word, pointer = ctypes.c_uint32, ctypes.c_void_p
    launch.argtypes = [word, word, pointer, word, word, word, word, pointer]
    return launch


def give_cards(patch: pytest.MonkeyPatch, directory: Path, count: int = 1) -> None:
    """Put the module of fake_cuda in CuPy's place, here and in processes that are started."""
    if compiler() is None:
        pytest.skip(
            "NO C COMPILER HERE: nothing stands for a card, and its host side is not checked"
        )
    patch.syspath_prepend(str(FAKE))
    patch.setenv("PYTHONPATH", str(FAKE))
    patch.setenv("FAKE_CUDA_DIRECTORY", str(directory))
    patch.setenv("FAKE_CUDA_CARDS", str(count))
    patch.delitem(sys.modules, "cupy", raising=False)
