from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# counts the heaps that eight threads which live at once have made
_PROGRAM = """
import ctypes, sys, threading
from dicom_listener.heap import keep_one_heap

if sys.argv[1] == "one":
    keep_one_heap()
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
together = threading.Barrier(9)
threads = [threading.Thread(target=lambda: (libc.malloc(1000), together.wait())) for _ in range(8)]
for thread in threads:
    thread.start()
together.wait()
file = ctypes.c_void_p(libc.fopen(sys.argv[2].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


def test_row_18_threads_share_one_heap(tmp_path: Path) -> None:
    """Else a flood leaves heaps behind, one for each thread that took part."""
    heaps = {}
    for kept in ("one", "all"):
        told = tmp_path / kept
        subprocess.run([sys.executable, "-c", _PROGRAM, kept, str(told)], check=True, timeout=60)
        heaps[kept] = told.read_text().count("<heap nr=")
    assert heaps["one"] == 1
    assert heaps["all"] > 1
