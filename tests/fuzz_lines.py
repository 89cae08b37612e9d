"""Read mutated lines with `_lines.c` built with the address and undefined behaviour sanitizers. Run by hand, not a test.

    python tests/fuzz_lines.py [SECONDS] [SEED]

Ends with the number of cases, one text of a few lines each; a sanitizer's finding ends the process with its report. Needs gcc.
"""

from __future__ import annotations

import importlib.util
import os
import random
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).parent.parent / "pipelines" / "_lines.c"
FLAGS = ["-O1", "-g", "-std=c11", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-shared", "-fPIC"]
KINDS = {"info": 3, "is_company": 2, "amount": 1, "disbursement_amount": 1}
FORMS = {"email": 1, "phone": 2, "address": 3}
NAMES = {
    "client": ["step", "client_id", "name", "info", "is_company", "dob", "email", "phone", "address"],
    "loan": ["step", "loan_id", "client_id", "amount", "disbursement_id", "disbursement_amount", "info"],
}
CATEGORIES = ((b"client", 0, False), (b"loan", 1, False), (b"disbursement", 1, True))
COLUMNS = [b"category", b"step", b"client_id", b"name", b"is_company", b"info", b"amount", b"kind", b"email", b"phone"]
JSON = [
    b'{"category":"client","data":{"step":"create","client_id":"C1","name":"J\\u00e9 \\"x\\"","is_company":true,'
    b'"info":{"a": [1, {"b":null}], "c":"d"},"nick":"y","dob":null}}',
    b'{"category": "disbursement", "data": {"kind": "loan", "amount":-1.5e+3,"x":[true,false,null],"info":{}}}',
    b'{"category":"client","data":{"email":"a.b@c-d.co","phone":"+254712345678","address":"1 Road, Town, KE"}}',
    '{"category":"client","data":{"name":"\u2028é\U0001f600\x7f","zz":"\\ud83d\\ude00"}}'.encode(),
    b"   ",
    b"{}",
]
CSV = [
    b'client,create,C1,"a, ""b""",TRUE,"{""a"": 1}",\\N,9,a.b@c-d.co,+254712345678',
    b'loan,update,L1,x,false,{},12.5,"\\N",,',
    b'disbursement,create,"x","y",,,0012,loan,a@b.c,+1',
    b",,,,,,,,,",
    b'"a',
]
PIECES = [b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\n", b"\r", b"\0", b"\xff", b"\xc2", b"\xe2\x80", b"\\u", b"\\ud83d"]
PIECES += [b"1e", b"null", b"tru", b" ", b'""', b"{" * 70, b"[" * 70, b'"category"', b'"data"']


def mutated(chance: random.Random, csv: bool) -> bytes:
    lines = [chance.choice(CSV if csv else JSON) for _ in range(chance.randint(1, 4))]
    data = bytearray(chance.choice([b"\n", b"\r\n"]).join(lines))
    for _ in range(chance.choice([0, 1, 1, 2, 3, 8])):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(4):
            case 0:
                del data[at : at + chance.randint(0, 6)]
            case 1:
                data[at:at] = chance.choice(PIECES)
            case 2:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case _:
                other = chance.randrange(len(data) + 1)
                data[at:at] = data[other : other + chance.randint(0, 20)]
    return bytes(data)


def scan(module: Any, data: bytes, *, csv: bool, unknown_room: int) -> None:
    room = data.count(b"\n") + 1
    sheets = []
    for names in NAMES.values():
        spelled = tuple((name.encode(), KINDS.get(name, 0), FORMS.get(name, 0)) for name in names)
        words = (bytearray(8 * room) for _ in range(5))
        sheets.append((spelled, *words, bytearray(room), bytearray(16 * room * len(names))))
    columns, at = [], len(data)
    for name in COLUMNS:
        columns.append((name, at))
        at += len(name)
    text = bytearray(data + b"".join(COLUMNS))
    views = (bytearray(16 * unknown_room) for _ in range(2))
    unknown = (unknown_room, bytearray(8 * unknown_room), bytearray(unknown_room), bytearray(unknown_room), *views)
    lines, left = bytearray(24 * room), bytearray(8 * room)
    module.scan(
        text, 0, len(data), data.isascii(), room, lines, left, CATEGORIES, tuple(sheets), unknown, tuple(columns) if csv else None
    )


def fuzz(library: Path, seconds: float, seed: int) -> None:
    spec = importlib.util.spec_from_file_location("_lines", library)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    chance, end, cases = random.Random(seed), time.monotonic() + seconds, 0
    while time.monotonic() < end:
        csv = chance.random() < 0.4
        scan(module, mutated(chance, csv), csv=csv, unknown_room=chance.choice([0, 1, 3, 64]))
        cases += 1
    sys.stdout.write(f"{cases:,} cases, no finding\n")


def main() -> None:
    seconds, seed = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0, int(sys.argv[2]) if len(sys.argv) > 2 else 1
    if library := os.environ.get("SANITIZED"):
        fuzz(Path(library), seconds, seed)
        return
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / "_lines.so"
        subprocess.run(["gcc", *FLAGS, f"-I{sysconfig.get_path('include')}", str(SOURCE), "-o", str(built)], check=True)
        names = ("libasan.so", "libubsan.so")
        found = [subprocess.check_output(["gcc", f"-print-file-name={name}"], text=True).strip() for name in names]
        env = os.environ | {"SANITIZED": str(built), "LD_PRELOAD": " ".join(found), "ASAN_OPTIONS": "detect_leaks=0"}
        sys.exit(subprocess.run([sys.executable, __file__, *sys.argv[1:]], env=env, check=False).returncode)


if __name__ == "__main__":
    main()
