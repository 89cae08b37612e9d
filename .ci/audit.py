"""Ask for known holes of each locked library: `make audit`. Exit: 0 clean, 1 holes are known, 2 not audited.

pip-audit takes a library of which the registry says nothing for a clean one, so what it left out is counted here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CLEAN, HOLES, NOT_AUDITED = 0, 1, 2


def audited(lock: Path) -> list[dict[str, Any]]:
    """Return what pip-audit says of each library of a lock; nothing when it could not ask."""
    words = [sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--require-hashes", "--disable-pip"]
    words += ["--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603  # words of ours
    try:
        return list(json.loads(done.stdout)["dependencies"])
    except (json.JSONDecodeError, KeyError):
        sys.stderr.write(done.stderr)
        return []


def verdict(found: list[dict[str, Any]]) -> tuple[int, str]:
    """Return exit code and words for what was found."""
    holes = [(each["name"], each["version"], hole) for each in found for hole in each.get("vulns", ())]
    silent = [each["name"] for each in found if "skip_reason" in each]
    lines = [f"{name} {version}: {hole['id']}, mended in {', '.join(hole['fix_versions']) or 'no version yet'}"
             for name, version, hole in holes]  # fmt: skip
    if silent or not found:
        asked = f"about {len(silent)} of {len(found)} libraries" if found else "at all"
        lines.append(f"not audited: the registry does not answer {asked}. Run it where it does; nothing is known to be clean.")
        return (HOLES if holes else NOT_AUDITED), "\n".join(lines)
    return (HOLES, "\n".join(lines)) if holes else (CLEAN, f"clean: no hole is known of {len(found)} locked libraries.")


if __name__ == "__main__":
    code, words = verdict(audited(Path(sys.argv[1])))
    sys.stdout.write(words + "\n")
    sys.exit(code)
