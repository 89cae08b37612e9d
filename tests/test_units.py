"""The systemd units: `systemd-analyze verify` finds nothing in them where it is installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[1] / "deploy"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("unit", sorted(path.name for path in DEPLOY.iterdir()))
def test_systemd_finds_nothing_wrong_with_a_unit(tmp_path, unit):
    for file in DEPLOY.iterdir():
        # The program is not where the unit will have it: /bin/true stands in, with the same words after it.
        text = file.read_text().replace("/opt/nightdrop/.venv/bin/nightdrop", "/bin/true")
        (tmp_path / file.name).write_text(text.replace("/opt/nightdrop/.venv/bin/prefect", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(tmp_path / unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
