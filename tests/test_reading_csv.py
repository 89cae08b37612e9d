"""What a CSV record says, read as Python's csv module reads it."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reading_frames import read

from pipelines.csvs import Scan, cells_of, scan_line
from pipelines.problems import DropHeldError
from pipelines.sheets import MAX_RECORD

HEADER = b"step,client_id,name\n"


def test_a_row_gives_its_fields_an_empty_cell_is_absent_and_backslash_n_is_null() -> None:
    data = b'category,step,loan_id,amount,installment_count,change_reason,info\r\nloan,create,L1,0015.50,,\\N,"{""b"": 1.10, ""a"": [1, 2]}"\r\n'
    [event] = read(data, "csv").events()
    assert event == {
        "line": 2,
        "category": "loan",
        "sent": {"step": "create", "loan_id": "L1", "amount": "0015.50", "change_reason": None, "info": '{"b":1.10,"a":[1,2]}'},
        "wrong": [],
        "unknown": [],
    }


def test_an_empty_quoted_cell_is_absent_too() -> None:
    [event] = read(HEADER + b'create,"",""\n', "csv").events()
    assert event["sent"] == {"step": "create"}


@pytest.mark.parametrize("cell", ["client", "", '""', r"\N", '"client"'])
def test_without_a_category_a_row_is_a_client(cell: str) -> None:
    [event] = read(b"category,step,client_id\n" + cell.encode() + b",create,C1\n", "csv").events()
    assert (event["category"], event["unknown"]) == ("client", [])


@pytest.mark.parametrize(
    ("name", "cell", "text", "right"),
    [
        *(("amount", cell, cell, True) for cell in ("0", "007", "-1.50", "1e5", "1E-5", "12345678901234567890.123456789")),
        *(("amount", cell, cell, False) for cell in ("+1", ".5", "5.", " 1", "1,5", "1_0", "NaN", "0x1", "١", "true")),
        *(("is_company", cell, cell.lower(), True) for cell in ("true", "FALSE", "True", "fAlSe")),
        *(("is_company", cell, cell, False) for cell in ("1", "yes", " true", "truE ")),
        *(
            ("info", cell, text, True)
            for cell, text in (("{}", "{}"), (' {"a": "b c"} ', '{"a":"b c"}'), ('{"a": 1, "a": 1.0}', '{"a":1,"a":1.0}'))
        ),
        *(
            ("info", cell, cell, False)
            for cell in ("[]", "null", "x", "{", '{"a": NaN}', '{"a": "\\ud800"}', '{"a":' * 65 + "1" + "}" * 65)
        ),
        ("name", "5", "5", True),
        ("dob", "true", "true", True),
    ],
)
def test_a_cell_has_the_form_of_its_field_or_is_marked_wrong(name: str, cell: str, text: str, right: bool) -> None:
    quoted = '"' + cell.replace('"', '""') + '"'
    category = "loan" if name == "amount" else "client"
    for written in {quoted, cell if not set(cell) & set(',"') else quoted}:
        [event] = read(f"category,step,client_id,{name}\n{category},create,C1,{written}\n".encode(), "csv").events()
        assert event["sent"] == {"step": "create", "client_id": "C1", name: text}
        assert event["wrong"] == ([] if right else [name])


def test_a_column_that_the_category_does_not_know_is_an_unknown_field_where_it_is_not_empty() -> None:
    data = b'category,step,client_id,loan_id,foo,,kind\nclient,create,C1,,,,\nclient,create,C1,\\N,"a ""b""",x,loan\ndisbursement,create,C1,L1,,,loan\n'
    assert [(event["category"], event["unknown"]) for event in read(data, "csv").events()] == [
        ("client", []),
        ("client", [("loan_id", None), ("foo", 'a "b"'), ("", "x"), ("kind", "loan")]),
        ("loan", []),
    ]


def test_the_first_line_reason_of_a_row_stands_alone() -> None:
    rows = [
        b"create,C1",
        b"create,C1,a,b",
        b"create,C\r1,a",
        b"create,C1,\xff",
        b"create,\xff",
        b'create,"C\r1",a',
        b"create,C1,a\r\r",
    ]
    found = read(HEADER + b"\n".join(rows) + b"\n", "csv")
    assert found.unread.select("line", "code").rows() == [
        (2, "ragged_row"),
        (3, "ragged_row"),
        (4, "ragged_row"),
        (5, "invalid_encoding"),
        (6, "invalid_encoding"),
        (8, "ragged_row"),
    ]
    assert [event["sent"] for event in found.events()] == [{"step": "create", "client_id": "C\r1", "name": "a"}]


@pytest.mark.parametrize(
    ("category", "kind", "known"),
    [
        ("disbursement", "card", False),
        ("disbursement", r"\N", True),
        ("Client", "", False),
        (" client", "", False),
        ("disbursement", "Loan", False),
    ],
)
def test_a_category_or_kind_that_is_none_is_unknown(category: str, kind: str, known: bool) -> None:
    found = read(f"category,kind,step,client_id\n{category},{kind},create,C1\n".encode(), "csv")
    assert found.unread.select("code", "value").rows() == ([] if known else [("unknown_category", category)])


def test_a_quoted_cell_may_span_lines_and_keeps_its_line_ends() -> None:
    found = read(HEADER + b'create,C1,"a\r\n\n""b"""\r\n\ncreate,C2,c\n', "csv")
    assert [(event["line"], event["sent"]["name"]) for event in found.events()] == [(2, 'a\r\n\n"b"'), (6, "c")]
    assert found.filler["kind"].to_list() == ["header", "blank"]


def test_lines_within_a_quoted_cell_are_no_records_however_plain_they_look() -> None:
    found = read(HEADER + b'create,C1,"a\ncreate,C2,b\ncreate,C3,c"\ncreate,C4,d\n', "csv")
    assert [(event["line"], event["sent"]["client_id"]) for event in found.events()] == [(2, "C1"), (5, "C4")]


def test_commas_and_quotes_alone_are_records_and_white_space_is_blank() -> None:
    found = read(HEADER + b'""\n,,\n  \n\t\r\n\n"",,\n', "csv")
    assert found.reasons() == [(2, "ragged_row")]
    assert [event["line"] for event in found.events()] == [3, 7]
    assert len(found.filler) == 4


def test_cells_and_header_are_not_trimmed() -> None:
    [event] = read(b'step,client_id, name\n create,C1 ,"a" b\n', "csv").events()
    assert (event["sent"], event["unknown"]) == ({"step": " create", "client_id": "C1 "}, [(" name", "a b")])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n \n",
        b"\xef\xbb\xbf",
        b"name,client_id\n",
        b"step,name\n",
        b"step,client_id,step\n",
        b"step,client_id,,\n",
        b"step,client_id,\xff\n",
        b"step,client_id\rcreate,C1\r",
        b"Step,client_id\n",
        b"step, client_id\n",
        b"x" * (MAX_RECORD + 1) + b"\n",
    ],
)
def test_a_header_that_cannot_be_relied_on_holds_the_drop(data: bytes) -> None:
    for chunk_bytes in (1, 1 << 20):
        if len(data) > chunk_bytes * 1000:
            continue
        with pytest.raises(DropHeldError) as held:
            read(data, "csv", chunk_bytes)
        assert held.value.reason == "csv_header"


def test_a_header_may_follow_blank_lines_be_quoted_and_name_a_field_twice_by_its_alias() -> None:
    found = read(b'\xef\xbb\xbf\n"step","loan_id",disbursement_id,"a\nb"', "csv")
    assert found.filler["kind"].to_list() == ["bom", "blank", "header"]
    assert not found.sheets


@pytest.mark.parametrize(
    "end",
    [
        b"create,C1",
        b'create,C1,"a',
        b'create,C1,"a\n',
        b'create,C1,"a\nb,c\n\n',
        b"create",
        b'"',
        b'create,C1,"a""',
        b"create,C\r1",
    ],
)
def test_an_open_quote_or_too_short_a_last_record_holds_the_drop(end: bytes) -> None:
    for chunk_bytes in (3, 1 << 20):
        with pytest.raises(DropHeldError, match="line 3") as held:
            read(HEADER + b"create,C0,a\n" + end, "csv", chunk_bytes)
        assert held.value.reason == "truncated"


@pytest.mark.parametrize(
    ("end", "reasons"),
    [
        (b"create,C1,a", []),
        (b"create,C1,a,b", [(2, "ragged_row")]),
        (b"create,C1,a\r", [(2, "ragged_row")]),
        (b"\xff,,", [(2, "invalid_encoding")]),
    ],
)
def test_a_last_record_without_a_line_end_that_has_all_its_cells_is_a_record_like_another(
    end: bytes, reasons: list[tuple[int, str]]
) -> None:
    assert read(HEADER + end, "csv").reasons() == reasons


def test_a_record_over_one_mebibyte_is_too_long_on_however_many_lines() -> None:
    room = MAX_RECORD - len('create,C1,""')
    fits = b'create,C1,"' + b"a\n" * (room // 2) + b"b" * (room % 2) + b'"\r\n'
    longer = b'create,C1,"' + b"a\n" * (room // 2) + b"b" * (room % 2 + 1) + b'"\r\n'
    found = read(HEADER + fits + longer + b"create,C2,a\n", "csv")
    assert found.unread.select("code", "byte_length").rows() == [("line_too_long", MAX_RECORD + 1)]
    assert [event["sent"]["client_id"] for event in found.events()] == ["C1", "C2"]


ROWS = st.lists(st.sampled_from(["a", "é", ",", '"', '""', "\n", "\r\n", " ", "\x00", "\\N"]), max_size=14).map("".join)


@settings(deadline=None)
@given(ROWS)
@example('"a"b"c\n",d\n')
@example('""""\n')
def test_records_and_cells_are_those_of_the_csv_module(text: str) -> None:
    records, pending, scan = [], "", Scan()
    for line in io.StringIO(text, newline="\n"):
        scan_line(line.encode(), scan)
        pending += line
        if not scan.open_quote:
            content = pending.removesuffix("\n")
            cells = cells_of(content.removesuffix("\r") if content != pending else content)
            assert len(cells) == scan.cells
            records.append(cells)
            pending, scan = "", Scan()
    theirs = list(csv.reader(io.StringIO(text, newline="\n")))
    if pending:
        theirs.pop()
    assert [cells if cells != [""] else [] for cells in records] == [cells if cells != [""] else [] for cells in theirs]
