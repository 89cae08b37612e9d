"""Coverage-guided fuzzing of the reader, by hand: each input is one file, read by the pipeline and by the judge, who must agree.

`pip install atheris==3.0.0`, then `PYTHONPATH=.:tests python tests/fuzz_reading.py [light | exact] FOLDER -atheris_runs=1000000`
(options of libFuzzer; FOLDER keeps the inputs that reached something new). A case is one call of `read_both` on one file;
nothing is batched. With `light` both readers are driven in one thread, no frames are made of what the exact one finds, and every
field of every plain line is held to what the exact reader says of it: three times as many cases a second. With `exact` only the
exact reader is driven, which says what a record is: some thousand cases a second.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable
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
    import pipelines.plainlines
    import pipelines.reading
    from pipelines.blocks import content_length
    from pipelines.csvs import Scan, read_record, scan_line
    from pipelines.jsonl import json_types, read_line
    from pipelines.problems import DropHeldError
    from pipelines.sheets import Event, Findings
    from pipelines.tiling import lost_bytes
    from validation.entities import ENTITIES

CONTROL = frozenset(map(chr, (*range(32), *range(0x7F, 0xA0)))) - set("\t\r\n")
NAMES = {category: entity.spellings for category, entity in ENTITIES.items()}
CHUNKS = (1 << 20, 64, 1 << 20, 7, *[1 << 20] * 4)
HEADER = b"category,step,client_id,name,is_company,info,extra\n"

Record = tuple[int, int, int, str | None, str | None, str | None]
"""Line, byte_offset, byte_length, line reason, its category, its value; reason and value null of an event."""


def by_the_pipeline(data: bytes, format: str, chunk_bytes: int) -> list[Record] | str:
    """Return the records of a file in their order, or why it is held; that its bytes add up is asserted on the way."""
    records: list[Record] = []
    try:
        for chunk in pipelines.reading.read_chunks(io.BytesIO(data), format, chunk_bytes=chunk_bytes):
            if isinstance(chunk, Light):
                records += chunk.records()
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


class Light:
    """What stands in the place of a chunk: what the exact reader found, as it is, and the sheets of the plain lines."""

    def __init__(self, found: Findings, plain: Any) -> None:
        self.found = found
        self.plain = {category: sheet.rows() for category, sheet in (plain or {}).items()}

    def records(self) -> list[Record]:
        records: list[Record] = [(*place[:3], one.code, one.category, one.value) for place, one in self.found.unread]
        for category, events in self.found._events.items():
            records += [(*place[:3], None, category, None) for place, _ in events]
        for category, rows in self.plain.items():
            records += [(*row[:3], None, category, None) for row in rows]
        return records

    def tiled_to(self, start: int) -> int:
        """Do what the reader does for frames."""
        tiles = [(offset, span) for offset, span, _ in self.found.filler]
        for places in (self.found.unread, *self.found._events.values()):
            tiles += [(place[1], place[3]) for place, _ in places]
        tiles += [(row[1], row[3]) for rows in self.plain.values() for row in rows]
        for offset, span in sorted(tiles):
            if offset != start:
                raise lost_bytes(start, offset)
            start += span
        return start


class Here:
    """A pool of threads without threads."""

    def __init__(self, _: int) -> None: ...

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None: ...

    def map(self, work: Callable[..., Any], *arguments: Iterable[Any]) -> Iterable[Any]:
        return map(work, *arguments)


read_plain = pipelines.plainlines.read_plain


def compared(block: Any, header: Any = None) -> Any:
    """Read plain lines, and assert of each event that the exact reader says the same of that line."""
    plain = read_plain(block, header)
    for category, parts in plain.parts.items() if plain else ():
        for row in (row for part in parts for row in part.iter_rows(named=True)):
            line = block.data[row["byte_offset"] - block.offset :][: row["byte_span"]]
            exact: Any
            if header is None:
                exact = read_line(line[: content_length(line)])
            else:
                scan_line(line, scan := Scan())
                assert not scan.open_quote, line
                exact = read_record(line[: content_length(line)], scan, header)
            assert isinstance(exact, Event) and exact.category == category, (line, exact)
            bits = {name: 1 << bit for bit, name in enumerate(name for name in row if name in NAMES[category])}
            texts = {name: row[name] for name, bit in bits.items() if row["sent"] & bit}
            assert texts == exact.texts, line
            assert {name for name, bit in bits.items() if row["wrong"] & bit} == set(exact.wrong), line
            assert tuple((one["name"], one["value"]) for one in row["unknown"] or ()) == exact.unknown, line
            judged = [text for name, text in texts.items() if text is not None and json_types(category)[name] == "string"]
            assert row["odd"] or exact.wrong or not any(map(is_odd, judged)), line
    return plain


def is_odd(text: str) -> bool:
    """Tell of a text what `odd` promises never to miss."""
    return not text or len(text.encode()) > 128 or text != text.strip() or any(map(CONTROL.__contains__, text))


def make_no_frames_of_findings() -> None:
    """Drive both readers lightly."""
    pipelines.plainlines.ThreadPoolExecutor = Here
    pipelines.reading.read_plain = compared
    pipelines.reading.tiled_to = lambda chunk, start: chunk.tiled_to(start)
    Findings.chunk = lambda self, plain=None: Light(self, plain)


def drive_the_exact_reader_alone() -> None:
    """Leave out the reading in whole columns."""
    make_no_frames_of_findings()
    pipelines.reading.read_plain = lambda *_, **__: None


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
    for word, begin in (("exact", drive_the_exact_reader_alone), ("light", make_no_frames_of_findings)):
        if arguments[:1] == [word]:
            begin()
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
