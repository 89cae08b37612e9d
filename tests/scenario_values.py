"""What scenarios are made of: valid records, and values, lines and rows that break each rule. Data only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Raw(str):
    """JSON (or a CSV cell) as it will stand in the file."""


DROP: Any = object()
"""Stands for: leave this field out."""

ID = {"client": "client_id", "loan": "loan_id", "payment": "payment_id", "deposit": "deposit_id"}
STEPS: list[Any] = ["create"] * 8 + ["delete"] * 2 + ["update"] * 14
# Hypothesis likes the ends of a list: what should be common stands there.
IDS: dict[str, list[str]] = {
    "client": ["c1"] * 6 + ["c3", "c3", "1"] + ["c2"] * 5,
    "loan": ["l1"] * 6 + ["l3", "l3", "1"] + ["l2"] * 5,
    "payment": ["p1"] * 6 + ["p3", "p3", "1"] + ["p2"] * 5,
    "deposit": ["d1"] * 6 + ["d2", "d2", "1"] + ["d1"] * 2,
}
OTHER_NAMES: dict[str, dict[str, str]] = {
    "client": {},
    "loan": {
        "loan_id": "disbursement_id",
        "amount": "disbursement_amount",
        "expected_margin": "total_expected_margin",
    },
    "payment": {
        "loan_id": "disbursement_id",
        "amount": "payment_total",
        "principal": "payment_principal",
        "fee": "payment_fee",
    },
    "deposit": {},
}

_PERSON: dict[str, Any] = {
    "name": "Ann Lee",
    "email": "john.doe@example.com",
    "phone": "+14155552671",
    "address": "12 Main St, Springfield, IL",
    "country": "US",
    "is_company": False,
    "registration_number": "ID-123",
    "gender": "female",
}
_COMPANY: dict[str, Any] = {
    **_PERSON,
    "name": "Acme, Inc.",
    "phone": "+1234567890",
    "is_company": True,
    "registration_number": "CR-9",
    "gender": "company",
    "contact_person": "Bo",
}
_LOAN: dict[str, Any] = {
    "client_id": "c1",
    "amount": Raw("1000.50"),
    "currency": "EUR",
    "disbursement_date": "2025-01-02",
    "maturity_date": "2026-01-02",
}
_PAYMENT = {"loan_id": "l1", "amount": 100, "currency": "EUR", "status": "expected", "due_date": "2025-02-01"}
_DEPOSIT = {"client_id": "c1", "account_number": "AC-1", "currency": "EUR"}
TEMPLATES: dict[str, list[dict[str, Any]]] = {
    "client": [_PERSON, _COMPANY, {**_PERSON, "dob": "19800229", "city": "Ñandú", "info": {"k": 1}}],
    "loan": [
        _LOAN,
        {**_LOAN, "client_id": "c2", "currency": "USD", "expected_margin": Raw("10.0"), "interest_rate": Raw("0.125")},
        {**_LOAN, "client_id": "c3", "status": "pending", "installment_count": 12, "info": {"a": [1, {"b": None}]}},
        {**_LOAN, "client_id": "c2"},
    ],
    "payment": [
        {**_PAYMENT, "principal": Raw("90.5"), "fee": Raw("9.50")},
        {**_PAYMENT, "loan_id": "l2", "currency": "USD", "status": "paid", "payment_date": "2025-02-01T10:00:00Z"},
        {**_PAYMENT, "loan_id": "l3", "installment_number": 3, "source": "insurer", "bank_ref": 'ref "7", x'},
        _PAYMENT,
    ],
    "deposit": [_DEPOSIT, {**_DEPOSIT, "client_id": "c2", "balance": Raw("-12.3400")}, {**_DEPOSIT, "client_id": "c3"}],
}

# --- values by the kind of field: good ones, then bad ones -----------------------------------------------------------

_DEEP = {levels: Raw('{"d":' + "[" * levels + "]" * levels + "}") for levels in (61, 62, 63, 64)}
_TEXTS = [
    *["x", "Zoë\u2028Ω 𝄞", 'say "hi", ok', "two\nlines", "cr\r\nlf\tin", " padded ", "\\N ", "=1+1", "'", "a\\b/c", "\ufeffx"],
    *["\u200b", "1", "null", "\u061c", "\ue000\uffff", "café", "a\rb"],
    *["", " ", "\t\n", "\u3000\u00a0", "\x85", "\x0b", "nul\x00", "bell\x07", "\x7f", "\x9f", "\x1f ", "\x1c"],
    *[5, True, ["x"], {"a": 1}, Raw("1.50")],
]
_EMAILS = [
    *["ann@example.com", "o'hara+tag@sub.example.org", "jörg@münchen.de", "用户@例子.广告", "A.B@EXAMPLE.COM", "a@b-c.co"],
    *["x@example.test", "user@localhost", "no-at", "a@b..c", "a b@c.de", "ann@example.com ", "ann@example.com\n", "@x.de"],
    *["a@" + "b" * 64 + ".com", "a" * 65 + "@example.com", "a@[127.0.0.1]", '"q"@example.com', "a@b.c.", "a.@b.de", "", 5],
]
_PHONES = [
    *["+1234567890", "+442071838750", "+1234567", "+123456789012345", "+4915123456789"],
    *["+123456", "+1234567890123456", "+0234567", "004412345", "+1234567890\n", "+1 234 567", "+١٢٣٤٥٦٧٨", "", 14155552671],
]
_ADDRESSES = ["1 A, B, C", "٣ شارع, ب, ج", "no digit, at, all", "1 A, B", "1 A", "Ⅷ ½, b, c", ",,1", "", "x\n1,\n2,3"]
_COUNTRIES = ["DE", "GB", "NG", "UK", "de", "DEU", "XX", " US", "US\n", "ÜS", ""]
_CURRENCIES = ["USD", "EUR", "JPY", "eur", "EURO", "US", "€", "ZZZ", " EUR", "EUR\n", "DEM", ""]
_DATES = [
    *["2025-03-01", "20250301", "2024-02-29", "0001-01-01", "9999-12-31", "2025-03-01T23:59", "2025-03-01 00:00:00.5+14:00"],
    *["20250301T235959Z", "2025-03-01T10:00:00-0530", "2025-03-01T10:00+05", "2025-03-01T10:00:00.123456789Z"],
    *["2025-02-29", "2025-13-01", "2025-3-1", "01/03/2025", "0000-01-01", "2025-03-01T24:00", "2025-03-01T10:60", "2025-0301"],
    *[
        "2025-03-01Z",
        "2025-03-01T10",
        "2025-03-01T10:00+24:00",
        "2025-03-01\n",
        " 2025-03-01",
        "\u0662\u0660\u0662\u0665-03-01",
        "2025-03-01T",
        "",
    ],
    *["2025-03-01T10:00:00.", "2025-03-01t10:00", "12025-03-01", 20250301, "2025-03-01T10:00z", "2025-03-01  10:00"],
]
_NUMBERS = [
    *[Raw(text) for text in ("1", "0.0001", "99999999999999.9999", "1.5000000", "12e2", "1E-4", "100", "1000.50", "10e-1")],
    *[Raw("1." + "0" * 10_000), Raw("1" + "0" * 9_999 + "e-9999"), Raw("0.00000001"), Raw("9999999999.99999999")],
    *[Raw(text) for text in ("0", "-0", "0.0", "-1", "-0.00001", "1.00001", "100000000000000", "1e14", "1e-5", "1e400")],
    *[Raw("1" * 10_000), Raw("0e99999999999999999999"), Raw("1e99999999999999999999"), Raw("1e-99999999999999999999")],
    *[Raw("0." + "0" * 10_000 + "1"), Raw("1e" + "9" * 5_000), Raw("-0e5"), Raw("12345678901.5")],
    *["007.50", "00", "-01", "+5", ".5", "5.", "1_000", " 5", "٣", "0x1", "NaN", "1,5", "1e", "abc", True, [1], {"a": 1}],
]
_INTEGERS = [
    *[Raw("1"), Raw("2147483647"), 12, "007"],
    *[Raw("0"), Raw("2147483648"), Raw("-1"), Raw("1.0"), Raw("1e1"), Raw("9" * 10_000), Raw("-0"), "0" * 5_000 + "5", "x", ""],
]
_OBJECTS = [
    *[{}, {"é": "\u2028\x7f"}, Raw('{"a":1,"a":2}'), Raw('{ "n" : 1.50 , "b" : [ -0, 2e5 ] , "s":"\\u00e9\\/\\u0001"}')],
    *[_DEEP[61], _DEEP[62], _DEEP[63], _DEEP[64]],
    *[Raw('{"x":"\\ud83d\\ude00"}'), Raw('{"":{"":[]}}'), Raw('{"big":' + "9" * 5_000 + "}")],
    *[[], "{}", '{"a": 1}', "not json", '{"a":NaN}', '{"a":"\\ud800"}', '{"a":1,}', "[1]", 5, True, "", "null", ' {"a":1}\n'],
]
_BOOLEANS = [True, False, "TRUE", "False", "tRuE", "yes", "1", 1, 0, "", "true ", [True], "null"]
_IDS = ["x" * 128, "é\u0301", "a b", "it's", "x" * 129, " c1", "c1 ", "c1\u00a0", "\u2003c1", "c1\n", "", " ", "c\x00", 12, True]
_IDS += ["𝄞" * 128, "𝄞" * 129, "\x1fc1", "\u200bc1", ["c1"], {"id": "c1"}]

POOLS: dict[str, dict[str, list[Any]]] = {
    "client": {
        "client_id": _IDS,
        "name": _TEXTS,
        "email": _EMAILS,
        "phone": _PHONES,
        "address": _ADDRESSES,
        "country": _COUNTRIES,
        "is_company": _BOOLEANS,
        "registration_number": [
            "ID-1",
            "PASS-x",
            "CR-1",
            "ID-",
            "PASS-",
            "CR-",
            "id-1",
            " ID-1",
            "ID-\n",
            "X-1",
            "CR-\r\n",
            "PASSPORT-1",
        ],
        "gender": ["male", "female", "company", "Male", "other", " male", "", "male\n"],
        "contact_person": ["Bo", "", "  ", "Bo\x00", 5],
        "info": _OBJECTS,
        **dict.fromkeys(("first_name", "middle_name", "last_name", "image", "city", "state"), _TEXTS),
        "dob": _DATES,
    },
    "loan": {
        "loan_id": _IDS,
        "client_id": ["c1", "c2", "c3", "nobody", *_IDS],
        "amount": _NUMBERS,
        "currency": _CURRENCIES,
        "disbursement_date": _DATES,
        "maturity_date": _DATES,
        "expected_margin": _NUMBERS,
        "interest_rate": _NUMBERS,
        "installment_count": _INTEGERS,
        "status": ["pending", "active", "closed", "written_off", "Active", "open", "written-off"],
        "change_date": _DATES,
        "change_reason": _TEXTS,
        "info": _OBJECTS,
    },
    "payment": {
        "payment_id": _IDS,
        "loan_id": ["l1", "l2", "l3", "nothing", *_IDS],
        "amount": _NUMBERS,
        "currency": _CURRENCIES,
        "status": ["expected", "paid", "canceled", "cancelled", "PAID"],
        "due_date": _DATES,
        "payment_date": _DATES,
        "principal": _NUMBERS,
        "fee": _NUMBERS,
        "installment_number": _INTEGERS,
        "source": ["client", "insurer", "other", "bank"],
        "bank_ref": _TEXTS,
        "info": _OBJECTS,
    },
    "deposit": {
        "deposit_id": _IDS,
        "client_id": ["c1", "c2", "c3", "nobody", *_IDS],
        "account_number": _TEXTS,
        "currency": _CURRENCIES,
        "account_name": _TEXTS,
        "balance": _NUMBERS,
        "status": ["active", "dormant", "closed", "frozen"],
        "product_type": _TEXTS,
        "maturity_date": _DATES,
        "info": _OBJECTS,
    },
}

# --- changes: what an event says besides -----------------------------------------------------------------------------

_WRONG_STEPS: list[Any] = ["Create", "", " ", "upsert", 5, None, DROP, "create ", "create\n", "\x00", ["create"]]
_STRANGE: list[dict[str, Any]] = [
    {"nickname": "x"},
    {"": 1},
    {"é": None},
    {"Step": "create"},
    {"category": "loan"},
    {"data": {}},
    {"x": [1, {"y": Raw("1.0")}]},
    {"nul\x00key": "a\x00"},
    {"channel": "api"},
    {"loan_id": "l1"},
    {"disbursement_id": "l1"},
    {"disbursement_amount": 7},
    {"payment_fee": 5},
    {"kind": "loan"},
    {"kind": None},
    *[{"step": step} for step in _WRONG_STEPS],
]
_SPELLED_TWICE: dict[str, list[dict[str, Any]]] = {
    "client": [],
    "loan": [
        {"amount": 5, "disbursement_amount": 5},
        {"amount": Raw("5"), "disbursement_amount": Raw("5.0")},
        {"amount": Raw("5"), "disbursement_amount": "5"},
        {"amount": "5", "disbursement_amount": Raw("5")},
        {"amount": None, "disbursement_amount": 5},
        {"expected_margin": 5, "total_expected_margin": None},
        {"expected_margin": None, "total_expected_margin": None},
        {"total_expected_margin": 3, "change_date": "2025-01-03", "change_reason": "x"},
        {"disbursement_id": "l2"},
        {"disbursement_id": None},
    ],
    "payment": [
        {"amount": 5, "payment_total": 6},
        {"principal": None, "payment_principal": None},
        {"fee": Raw("1"), "payment_fee": Raw("1e0")},
        {"payment_principal": Raw("90.5"), "payment_fee": Raw("9.5")},
        {"disbursement_id": "l2"},
        {"disbursement_id": None},
    ],
    "deposit": [],
}
_TELLING: dict[str, list[dict[str, Any]]] = {
    "client": [
        {"gender": "company"},
        {"gender": "male"},
        {"is_company": True},
        {"is_company": False},
        {"is_company": True, "gender": "company", "registration_number": "CR-7", "contact_person": "Cy"},
        {"is_company": True, "gender": "company", "registration_number": "CR-7"},
        {"is_company": False, "gender": "male", "registration_number": "PASS-7"},
        {"is_company": False, "gender": "male", "registration_number": "ID-8", "contact_person": None},
        {"contact_person": None},
        {"contact_person": "Di"},
        {"registration_number": "CR-8"},
        {"registration_number": "ID-8"},
        {"phone": "+442071838750", "address": "nowhere"},
        {"name": "New Name", "city": None},
        {"info": None},
    ],
    "loan": [
        {"amount": 200, "change_date": "2025-01-03", "change_reason": "top-up"},
        {"amount": Raw("300.0001"), "change_date": "2025-01-04", "change_reason": "more"},
        {"amount": 200},
        {"amount": 200, "change_date": "2025-01-03"},
        {"amount": 200, "change_reason": "no date"},
        {"amount": 200, "change_date": None, "change_reason": "x"},
        {"amount": Raw("1000.5000")},
        {"change_date": "2025-01-03", "change_reason": "nothing"},
        {"expected_margin": 20, "maturity_date": "2027-01-01", "change_date": "2025-01-05", "change_reason": "both"},
        {"expected_margin": None, "change_date": "2025-01-05", "change_reason": "waived"},
        {"expected_margin": None},
        {"maturity_date": "2024-12-31", "change_date": "2025-01-05", "change_reason": "early"},
        {"disbursement_date": "2026-06-01"},
        {"disbursement_date": "2025-01-01"},
        {"client_id": "c2"},
        {"client_id": "c1"},
        {"currency": "USD"},
        {"currency": "EUR"},
        {"status": "closed"},
        {"status": None},
        {"installment_count": None, "interest_rate": Raw("0.00000001")},
    ],
    "payment": [
        {"status": "paid", "payment_date": "2025-02-02"},
        {"principal": 90, "fee": 10},
        {"principal": 90, "fee": 11},
        {"fee": Raw("9.50")},
        {"principal": None},
        {"fee": None},
        {"amount": 101},
        {"amount": 100},
        {"loan_id": "l2"},
        {"loan_id": "l9"},
        {"currency": "USD"},
        {"currency": "EUR"},
        {"source": None},
        {"status": "canceled", "bank_ref": None},
        {"payment_date": None},
    ],
    "deposit": [
        {"balance": 5},
        {"balance": Raw("-5.25")},
        {"balance": None},
        {"client_id": "c2"},
        {"client_id": "c1"},
        {"currency": "USD"},
        {"currency": "EUR"},
        {"status": "closed"},
        {"status": None},
        {"product_type": "term", "maturity_date": "2026-01-01"},
    ],
}


def _single(category: str) -> list[dict[str, Any]]:
    # Every field is met about as often, however many values it has.
    evenly = {name: pool * max(1, 30 // len(pool)) for name, pool in POOLS[category].items()}
    values: list[dict[str, Any]] = [{name: value} for name, pool in evenly.items() for value in pool]
    nothing: list[dict[str, Any]] = [{name: value} for name in POOLS[category] for value in (None, DROP, None, DROP)]
    return values + nothing + _STRANGE + _SPELLED_TWICE[category] * 2


def _updates(category: str) -> list[dict[str, Any]]:
    telling, single = _TELLING[category], _single(category)
    often = telling * max(1, 2 * len(single) // len(telling))
    return often + single + often


CREATE_CHANGES = {category: _TELLING[category] * 3 + _single(category) + _TELLING[category] for category in POOLS}
UPDATE_CHANGES = {category: _updates(category) for category in POOLS}
PLAIN_ENVELOPE = {category: {"category": category} for category in POOLS}
_WRONG_WORDS: list[Any] = ["Client", "", " client", "card", "clients", 5, None, DROP, Raw("1.50"), True, ["loan"]]
_ODD_ENVELOPES: list[dict[str, Any]] = [
    *[{"category": word} for word in (*_WRONG_WORDS, "cli\x00ent", r"\N")],
    {"category": "disbursement", "kind": "payment"},
]


def _envelopes(category: str) -> list[dict[str, Any]]:
    with_more: list[dict[str, Any]] = [
        {"category": category, "source": "x"},
        {"category": category, "kind": "loan"},
        {"step": "create", "category": category},
    ]
    odd = with_more + _ODD_ENVELOPES
    if category == "loan":
        odd += [{"category": "disbursement"}] * 8
        kinds: list[Any] = ["loan", "loan", None, None, "Loan", "", 5, "deposit", ["loan"]]
        odd += [{"category": "disbursement", "kind": kind} for kind in kinds]
    return [{}] * 160 + odd + [{}] * 160


ENVELOPES = {category: _envelopes(category) for category in POOLS}

# --- lines that are no events, or only just --------------------------------------------------------------------------

_CLIENT = b'{"category":"client","data":{%s}}'
_UPDATE = _CLIENT % b'"step":"update","client_id":"c1",%s'
BROKEN_LINES: list[bytes] = [
    *[b"not json", b'{"category":"client","data":{"step":"create"', b'{"category":"client",}', b"{'category':'client'}", b"\x00"],
    *[
        b'{"category":"client","data":{}} {}',
        b"// comment",
        b'\xef\xbb\xbf{"category":"client","data":{}}',
        b'\x0c{"category":"client"}',
    ],
    *[
        _UPDATE % b'"name":"\xe9"',
        b"\xff\xfe{\x00}\x00",
        b'{"a":"\xc0\xaf"}',
        b'"\xed\xa0\x80"',
        b"\x80",
        _UPDATE % b'"name":"\xf4\x90\x80\x80"',
    ],
    *[
        _UPDATE % b'"name":"\\ud800"',
        _UPDATE % b'"\\udc00":1',
        _UPDATE % b'"name":"\\ude00\\ud83d"',
        _UPDATE % b'"name":"\\ud83d\\ude00"',
    ],
    *[_UPDATE % b'"x":NaN', _UPDATE % b'"x":Infinity', _UPDATE % b'"x":-Infinity', _UPDATE % b'"x":nan', _UPDATE % b'"x":1.'],
    *[
        _UPDATE % b'"x":01',
        _UPDATE % b'"x":+1',
        _UPDATE % b'"x":.5',
        _UPDATE % b'"x":0x10',
        _UPDATE % b'"x":1e',
        _UPDATE % b'"x":-',
    ],
    *[_UPDATE % b'"name":"a\x01b"', _UPDATE % b'"name":"a\tb"', _UPDATE % b'"name":"\\x41"', _UPDATE % b'"name":"a\\u00e"'],
    *[
        _UPDATE % b'"name":"a\x7f\xe2\x80\xa8b"',
        _UPDATE % b'"name":"a\\/b"',
        _UPDATE % b'"name":"\\u0000"',
        _UPDATE % b'"name":"\\u0041"',
    ],
    *[b"[" * depth + b"]" * depth for depth in (1, 64, 65, 3_000, 100_000)],
    *[_UPDATE % (b'"x":' + b"[" * depth + b"]" * depth) for depth in (61, 62, 63, 900)],
    *[_UPDATE % (b'"x":' + b'{"a":' * depth + b"1" + b"}" * depth) for depth in (62, 63)],
    *[b"42", b"[]", b"null", b'"x"', b"true", b"-0", b"1e999999", b'[{"category":"client"}]', b'[{"a":1,"a":2}]', b"9" * 5_000],
    *[b'{"category":"client","category":"client","data":{}}', _CLIENT % b'"step":"update","st\\u0065p":"update"'],
    *[_UPDATE % b'"x":1,"x":1', b'{"data":{},"category":"loan","data":{}}', b'{"category":"card","\\u0000":1,"\\u0000":2}'],
    *[_UPDATE % b'"info":{"a":1,"a":2}', _UPDATE % b'"x":{"a":1,"a":{"b":1,"b":[]}}', _UPDATE % b'"":1,"":2'],
    *[
        b"{}",
        b'{"category":"card","data":{}}',
        b'{"category":["client"],"data":{}}',
        b'{"category":{"a": 1.50, "a": 2},"data":{}}',
    ],
    *[b'{"category":"card"}', b'{"category":"disbursement","kind":"x"}', b'{"data":{"step":"create"}}', b'{"category":""}'],
    *[b'{"category":"disbursement","data":{"kind":5}}', b'{"category":"disbursement","kind":"loan","data":{"kind":null}}'],
    *[
        b'{"category":"loan"}',
        b'{"category":"loan","data":null}',
        b'{"category":"payment","data":[]}',
        b'{"category":"client","data":"{}"}',
    ],
    *[
        b'{"category":"disbursement","data":null}',
        b'{"category":"deposit","data":5}',
        b'{"category":"client","data":[{"a":1,"a":2}]}',
    ],
    *[
        b'{"category":"client","data":{}}',
        b'{"category":"loan","data":{"step":"delete"}}',
        b'{"c\\u0061tegory":"cli\\u0065nt","data":{}}',
    ],
]
BROKEN_ROWS: list[Callable[[int], bytes]] = [
    lambda n: b",".join([b"x"] * (n - 1)),
    lambda n: b",".join([b"x"] * (n + 1)),
    lambda n: b'""',
    lambda n: b"x",
    lambda n: b"," * (n - 1),
    lambda n: b"," * n,
    lambda n: b" " + b"," * (n - 1),
    lambda n: b",".join([rb"\N"] * n),
    lambda n: b'"client"' + b"," * (n - 1),
    lambda n: b'"cli"ent' + b"," * (n - 1),
    lambda n: b'"cli"en"t"' + b"," * (n - 1),
    lambda n: b'cl"ient"' + b"," * (n - 1),
    lambda n: b'"cl""ient"' + b"," * (n - 1),
    lambda n: b'""client' + b"," * (n - 1),
    lambda n: b'"a\nb\r\nc"' + b"," * (n - 1),
    lambda n: b'"client","update' + b'\n"' + b"," * (n - 2),
    lambda n: b'"\n\n","x"',
    lambda n: b'"client' + b"," * (n - 1),
    lambda n: b"\xff" + b"," * (n - 1),
    lambda n: b'"\xe9\n"' + b"," * (n - 1),
    lambda n: b"\xed\xa0\x80",
    lambda n: b"client\rx" + b"," * (n - 1),
    lambda n: b"\r" + b"," * (n - 1),
    lambda n: b"," * (n - 1) + b"x\r\r",
    lambda n: b'"a\r b"' + b"," * (n - 1),
    lambda n: b'"client"\r' + b"," * (n - 1),
    lambda n: b"card" + b"," * (n - 1),
    lambda n: b" client" + b"," * (n - 1),
    lambda n: b"card",
    lambda n: b"cl\x00ient" + b"," * (n - 1),
    lambda n: b"client,\x00" + b"," * (n - 2),
    lambda n: b"\xef\xbb\xbfclient" + b"," * (n - 1),
    lambda n: b"client,create,\xe2\x80\xa8,\x85".ljust(20) + b"," * (n - 4),
]
