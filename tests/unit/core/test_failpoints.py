import os
import signal
import subprocess
import sys

import pytest

PROGRAM = "from core.failpoints import reach; [reach(name) for name in ('a', 'b', 'b')]; print('survived')"


@pytest.mark.parametrize(("armed", "dies"), [("", False), ("a", True), ("b:2", True), ("b:3", False), ("c", False)])
def test_only_the_armed_pass_kills(armed: str, dies: bool) -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "LUNGWATCH_FAILPOINT": armed},
        capture_output=True,
        check=False,
    )
    assert result.returncode == (-signal.SIGKILL if dies else 0)
    assert (b"survived" in result.stdout) is not dies
