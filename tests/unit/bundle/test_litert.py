from __future__ import annotations

import psutil
import pytest

from bundle.litert import LiteRTRuntime
from bundle.manifest import LITERT
from tests.factories.bundles import noise, starter


@pytest.mark.parametrize("threads", [1, 3])
def test_the_interpreter_computes_with_as_many_threads_as_it_is_told(threads: int) -> None:
    bundle = starter()
    process = psutil.Process()
    before = process.num_threads()
    runtime = LiteRTRuntime(bundle.files[LITERT], threads, bundle.manifest.positive_column, len(bundle.manifest.labels))
    runtime.predict(noise(1))
    # the caller's own is one of them
    assert process.num_threads() - before == threads - 1


def test_on_cpu_no_image_waits_for_others() -> None:
    assert not LiteRTRuntime.batches_pay
