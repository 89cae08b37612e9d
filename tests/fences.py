"""The fenced blocks of a page: a `console` block is run in one shell, in order, and what it shows is held to what it prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ENDED = re.compile(r"\n?@@ended (\d+)@@\n")
DONE = (0, 3)
"""Exit codes of a command that did its work; 3: some drop is held."""


@dataclass(frozen=True)
class Command:
    text: str
    shown: str


@dataclass(frozen=True)
class Ran:
    command: Command
    printed: str
    code: int


def fences(page: str) -> list[tuple[str, str]]:
    """Return language and text of every fenced block."""
    return _FENCE.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))


def commands(page: str) -> list[Command]:
    """Return the commands (`$ …`, continued by `> …`) of a page's console blocks and what is shown under each."""
    found = []
    for language, block in fences(page):
        assert language not in ("sh", "bash", "shell"), "write commands as `console`, so that they are run"
        if language == "console":
            assert block.startswith("$ "), block
            for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                lines = part.splitlines()
                count = 1
                while count < len(lines) and re.match(r"> ?", lines[count]):
                    count += 1
                text = "\n".join([lines[0], *(re.sub(r"^> ?", "", line) for line in lines[1:count])])
                found.append(Command(text, "\n".join(lines[count:])))
    return found


def run(said: list[Command], home: Path) -> list[Ran]:
    """Run commands in one shell in the repository, `~` being a folder of the test."""
    home.mkdir(exist_ok=True)
    script = "".join(f"{command.text}\nprintf '\\n@@ended %s@@\\n' $?\n" for command in said)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    kept = {name: os.environ[name] for name in ("LANG", "LC_ALL") if name in os.environ}
    environment = {**kept, "HOME": str(home), "PATH": path, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    bash = ["bash", "--noprofile", "--norc"]
    done = subprocess.run(
        bash, input=script, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    parts = _ENDED.split(done.stdout)
    printed, codes = parts[:-1:2], parts[1::2]
    assert len(codes) == len(said), done.stdout
    return [
        Ran(command, words.replace(str(home), "~"), int(code)) for command, words, code in zip(said, printed, codes, strict=True)
    ]


def shows(shown: str, printed: str) -> bool:
    """Tell whether a page shows what was printed: `…` stands for any text within a line, alone for any lines.

    White space counts as one blank, so that a wider column changes nothing.
    """
    pattern = ""
    for line in _lines(shown):
        pattern += r"(?:.*\n)*?" if line == "…" else ".*?".join(map(re.escape, line.split("…"))) + "\n"
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in _lines(printed))) is not None


def _lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.strip("\n").splitlines()]
