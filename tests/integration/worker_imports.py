"""``python -m tests.integration.worker_imports``: a worker that tells when TensorFlow would be imported.

It says, a line of JSON each, whether TensorFlow or Keras is there before it begins, which processes it has started at
the first attempt to import one, and which when Celery waits for messages. That import fails, so the bundle is refused;
then the worker is told to stop.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

import psutil
from celery.worker import WorkController

from core.settings import load
from worker import process

HEAVY = ("tensorflow", "keras")
both = threading.Barrier(2, action=lambda: os.kill(os.getpid(), signal.SIGTERM))


def tell(about: str, **facts: object) -> None:
    children = [child.cmdline() for child in psutil.Process().children(recursive=True)]
    sys.stdout.write(json.dumps({"about": about, "children": children, **facts}) + "\n")
    sys.stdout.flush()


class Watch:
    """Stands before every other finder."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        if name not in HEAVY:
            return None
        tell("import", name=name)
        both.wait(60)
        raise ImportError(name)


def _listens(controller: WorkController, _: object) -> None:
    tell("celery", pool=type(controller.pool).__module__)
    both.wait(60)


WorkController.on_consumer_ready = _listens
tell("start", loaded=[name for name in HEAVY if name in sys.modules])
sys.meta_path.insert(0, Watch())
sys.exit(process.run(load()))
