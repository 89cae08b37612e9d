"""Coverage-guided fuzzing of the reader, by hand: each input is one file, read by the pipeline and by the judge, who must agree.

`pip install atheris==3.0.0`, then `PYTHONPATH=.:tests python tests/fuzz_reading.py [exact] FOLDER -atheris_runs=1000000`
(options of libFuzzer; FOLDER keeps the inputs that reached something new). A case is one call of `read_both` on one file;
nothing is batched. With `exact` only the exact reader is driven, which says what a record is, and no frames are made: some
thousand cases a second instead of some hundred.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import oracle_reading
from scenarios import sample

atheris: Any = None
if __name__ == "__main__" and find_spec("atheris"):
    import atheris

with atheris.instrument_imports(include=["pipelines", "validation"]) if atheris else nullcontext():
    import pipelines.reading
    from pipelines.problems import DropHeldError
    from pipelines.sheets import Findings
    from pipelines.tiling import lost_bytes

CHUNKS = (1 << 20, 64, 1 << 20, 7, *[1 << 20] * 4)
HEADER = b"category,step,client_id,name,is_company,info,extra\n"

Record = tuple[int, int, int, str | None, str | None, str | None]
"""Line, byte_offset, byte_length, line reason, its category, its value; reason and value null of an event."""


def by_the_pipeline(data: bytes, format: str, chunk_bytes: int) -> list[Record] | str:
    """Return the records of a file in their order, or why it is held; that its bytes add up is asserted on the way."""
    records: list[Record] = []
    try:
        for chunk in pipelines.reading.read_chunks(io.BytesIO(data), format, chunk_bytes=chunk_bytes):
            if isinstance(chunk, Findings):
                records += [(*place[:3], found.code, found.category, found.value) for place, found in chunk.unread]
                for category, events in chunk._events.items():
                    records += [(*place[:3], None, category, None) for place, _ in events]
                continue
            records += [(*row[:3], *row[4:]) for row in chunk.unread.rows()]  # without byte_span
            for category, sheet in chunk.sheets.items():
                records += [(*row[:3], None, category, None) for row in sheet.rows()]
    except DropHeldError as held:
        return held.reason
    return sorted(records)


def by_the_judge(data: bytes, format: str) -> list[Record] | str:
    """Return the same, read one record at a time by code that shares nothing with the pipeline."""
    try:
        events = oracle_reading.read(f"x.{format}", data)
    except oracle_reading.Held as held:
        return held.reason
    found: list[Record] = []
    for event in events:
        reason = event.reason
        told = (reason.code, reason.category, reason.value) if reason else (None, event.category or "client", None)
        found.append((event.line, event.byte_offset, event.byte_length, *told))
        assert data[event.byte_offset :][: event.byte_length] == event.raw
    return found


def read_both(case: bytes) -> None:
    """Read one file both ways. The first byte of the case says how: its format, whether it has a header, how it is cut."""
    how, data = (case[0], case[1:]) if case else (0, b"")
    format = "csv" if how & 1 else "jsonl"
    if how & 3 == 3:
        data = HEADER + data
    assert by_the_pipeline(data, format, CHUNKS[how >> 2 & 7]) == by_the_judge(data, format), (format, data)


def tiled_to(found: Findings, start: int) -> int:
    """Do for findings what the reader does for the frames made of them."""
    tiles = [(offset, span) for offset, span, _ in found.filler]
    for places in (found.unread, *found._events.values()):
        tiles += [(place[1], place[3]) for place, _ in places]
    for offset, span in sorted(tiles):
        if offset != start:
            raise lost_bytes(start, offset)
        start += span
    return start


def drive_the_exact_reader_alone() -> None:
    """Leave out the reading in whole columns and the making of frames."""
    pipelines.reading.read_plain = lambda *_, **__: None
    pipelines.reading.tiled_to = tiled_to
    Findings.chunk = lambda self, plain=None: self


def seeds() -> list[bytes]:
    """Return files to begin with."""
    found = []
    for number in range(40):
        for path, data in sample(number).items():
            if path.endswith((".jsonl", ".ndjson", ".csv")) and len(data) < 4000:
                first = (1 if path.endswith(".csv") else 0) | (number % 8) << 2
                found += [bytes([first]) + data, *(bytes([first | 2]) + line for line in data.splitlines(keepends=True)[:3])]
    return found


def main(arguments: list[str], target: Callable[[bytes], None] = read_both) -> None:
    """Fuzz until libFuzzer is told to stop."""
    if atheris is None:
        sys.exit("fuzzing needs atheris: pip install atheris==3.0.0")
    if arguments[:1] == ["exact"]:
        drive_the_exact_reader_alone()
        arguments = arguments[1:]
    folder = next((Path(argument) for argument in arguments if not argument.startswith("-")), None)
    if folder and not any(folder.glob("*")):
        folder.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(seeds()):
            (folder / f"seed-{number:04}").write_bytes(seed)
    atheris.Setup([sys.argv[0], *arguments], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
