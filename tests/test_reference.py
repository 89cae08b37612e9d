"""Fast ways beside the libraries they stand in for: they say the same, always."""

from __future__ import annotations

import io
import json
import re

import phonenumbers
import polars as pl
import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

from pipelines.checking import _typed
from pipelines.reading import read_chunks
from validation import emails, phones, reference
from validation.client import CLIENT
from validation.entities import ENTITIES
from validation.fields import Field
from validation.values import typed, without_exponents

LOCAL = st.text("abcXYZ019._+-'!#éÅßњΩ \"@\u0301", max_size=70)
DOMAIN = st.lists(st.text("abcXYZ019-éß名\u0301", max_size=12), max_size=4).map(".".join)
KNOWN = st.sampled_from(
    [
        "example.com",
        "bücher.example.com",
        "пример.рф",
        "x.TEST",
        "example.test",
        "localhost",
        "x.invalid",
        "a.onion",
        "mail.arpa",
        "B.ORG",
        "xn--a.com",
        "a--b.com",
        "1.2.3.4",
    ]
)


def library_takes(address: str) -> bool:
    try:
        validate_email(address, check_deliverability=False)
    except EmailNotValidError:
        return False
    return True


def library_words(address: str) -> str:
    try:
        validate_email(address, check_deliverability=False)
    except EmailNotValidError as refusal:
        return f": {refusal}".rstrip(".")
    return ""


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(LOCAL, st.one_of(DOMAIN, KNOWN)), min_size=1, max_size=10))
def test_addresses_are_judged_as_email_validator_judges_them(parts: list[tuple[str, str]]) -> None:
    addresses = [f"{local}@{domain}" for local, domain in parts]
    assert emails.is_email(pl.Series(addresses)).to_list() == [library_takes(address) for address in addresses]


REFUSED_LOCAL = st.text("aZ09._+-'!\" \\\t\x7f()<>,;:[]éя\u0301\u0338=", max_size=70)


@settings(max_examples=500, deadline=None)
@given(REFUSED_LOCAL, st.sampled_from(["@", "", "@@", " @"]), st.one_of(DOMAIN, KNOWN))
def test_the_words_about_a_refused_address_are_those_of_email_validator(local: str, at: str, domain: str) -> None:
    address = f"{local}{at}{domain}"
    assert emails.why_not(address) == library_words(address)


def test_every_letter_that_is_left_to_the_domain_is_one_the_library_takes_anywhere() -> None:
    letters = [chr(code) for code in range(0x80, 0x3000) if re.fullmatch(f"[{emails._LETTERS}]", chr(code))]
    assert len(letters) > 500
    for letter in letters:
        assert library_takes(f"{letter}@b.co") and library_takes(f"a{letter}.{letter}a@b.co"), letter


@pytest.mark.parametrize(
    "domain",
    ["bücher.example.com", "b.co", "", ".co", "b..co", "-b.co", "b", "a.test", "[127.0.0.1]", "b.co>", " b.co", "b.co\n"],
)
def test_what_stands_before_the_at_says_nothing_about_the_domain(domain: str) -> None:
    locals_ = ["a", "A.b_c+d-e", "müller.ßø", "Ωμέγα", "ЖЫћ.1"]
    addresses = [f"{local}@{domain}" for local in locals_]
    assert emails.is_email(pl.Series(addresses)).to_list() == [library_takes(address) for address in addresses]


def test_no_address_is_null_and_stays_so() -> None:
    assert emails.is_email(pl.Series([None, "a@b.co"], dtype=pl.String)).to_list() == [None, True]


def example_numbers() -> list[str]:
    found = []
    for code, regions in COUNTRY_CODE_TO_REGION_CODE.items():
        examples = [phonenumbers.example_number_for_type(region, kind) for region in regions for kind in range(11)]
        examples.append(phonenumbers.example_number_for_non_geo_entity(code))
        found += [f"+{code}{phonenumbers.national_significant_number(number)}" for number in examples if number]
    return sorted(set(found))


EXAMPLES = example_numbers()


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(EXAMPLES), st.integers(1, 14), st.text("0123456789", max_size=3)), min_size=1, max_size=20
    ),
    st.sampled_from([1, phones._LOOKED_AT]),
)
def test_numbers_are_plausible_when_libphonenumber_says_so(changes: list[tuple[str, int, str]], looked_at: int) -> None:
    numbers = [number[: 1 + place] + digits + number[1 + place + len(digits) :] for number, place, digits in changes]
    numbers = pl.Series(numbers).filter(pl.Series(numbers).str.contains(phones.FORM)).to_list()
    wanted = [phonenumbers.is_valid_number(phonenumbers.parse(number)) for number in numbers if _parses(number)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phones, "_LOOKED_AT", looked_at)
        assert phones.is_plausible(pl.Series([n for n in numbers if _parses(n)], dtype=pl.String)).to_list() == wanted


def _parses(number: str) -> bool:
    try:
        phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return False
    return True


def test_every_example_number_of_the_library_is_plausible_or_not_as_it_says() -> None:
    wanted = [phonenumbers.is_valid_number(phonenumbers.parse(number)) for number in EXAMPLES]
    assert phones.is_plausible(pl.Series(EXAMPLES)).to_list() == wanted


def test_a_number_that_cannot_be_parsed_is_implausible_and_none_stays_none() -> None:
    assert phones.is_plausible(pl.Series(["+9991234567", None, "+1234567890"])).to_list() == [False, None, False]
    assert phones.is_plausible(pl.Series([None], dtype=pl.String)).to_list() == [None]


FIELDS = {field.type: field for entity in ENTITIES.values() for field in entity.fields if field.type.dtype != pl.String()}
TEXTS = st.sampled_from(["2026-11-16", "20261116", "2026-13-01", "true", "12", "12.5", "-0.00000001", "", "no value"])


@given(st.sampled_from(list(FIELDS.values())), st.lists(st.none() | st.none() | st.none() | TEXTS, max_size=30))
def test_what_few_events_send_is_worked_out_as_if_all_sent_it(field: Field, texts: list[str | None]) -> None:
    frame = pl.DataFrame({field.name: texts}, schema={field.name: pl.String})
    both = frame.with_columns(few=_typed(frame[field.name], field), of_all=typed(pl.col(field.name), field))
    assert both["few"].to_list() == both["of_all"].to_list()
    assert both["few"].dtype == both["of_all"].dtype


@given(st.lists(st.decimals(allow_nan=False, allow_infinity=False, places=None), min_size=1))
def test_numbers_with_exponents_keep_their_value_or_fit_nowhere(numbers: list[object]) -> None:
    from decimal import Decimal

    texts = [str(number) for number in numbers]
    for before, after in zip(texts, without_exponents(pl.Series(texts)).to_list(), strict=True):
        if after:
            assert Decimal(after) == Decimal(before)
        else:
            number = Decimal(before)
            assert number.adjusted() > 13 or int(number.normalize().as_tuple().exponent) < -8


def test_codes_are_those_of_the_standards() -> None:
    assert reference.countries()["GB"] == "United Kingdom"
    assert reference.currencies()["EUR"] == "Euro"
    assert len(reference.countries()) > 240


def of_which_reading_is_sure(field: str, texts: list[str], format: str) -> list[str]:
    """Return the texts whose field reading is sure of; each is an event of its own."""
    if format == "csv":
        cells = (text.replace('"', '""') for text in texts)
        data = f"step,client_id,{field}\n" + "".join(f'update,C1,"{cell}"\n' for cell in cells)
    else:
        data = "".join(json.dumps({"category": "client", "data": {field: text}}) + "\n" for text in texts)
    sheets = [chunk.sheets.get("client") for chunk in read_chunks(io.BytesIO(data.encode()), format, chunk_bytes=1 << 20)]
    bit = pl.lit(1 << CLIENT.spellings.index(field), dtype=pl.UInt64)
    return [text for sheet in sheets if sheet is not None for text in sheet.filter((pl.col("sure") & bit) != 0)[field]]


NEARLY_PLAIN = st.from_regex(r"\A[aZ09_+.-]{0,33}@?@[aZ09.-]{0,33}\.?(co|com|TEST|arpa|c0|c-m|o|info|рф)\Z")
FIELDS = {
    "email": (st.one_of(NEARLY_PLAIN, st.builds("{}@{}".format, LOCAL, st.one_of(DOMAIN, KNOWN))), library_takes),
    "phone": (st.from_regex(r"\A\+?[0-9]{5,18}[ x٣+]?\Z"), re.compile(phones.FORM.replace("$", r"\Z")).search),
    "address": (
        st.text("aé,07٣\n ", min_size=1, max_size=12),
        lambda text: text.count(",") >= 2 and any(map(str.isdecimal, text)),
    ),
}


@pytest.mark.parametrize("format", ["jsonl", "csv"])
@pytest.mark.parametrize("field", FIELDS)
def test_what_reading_is_sure_of_breaks_no_rule(field: str, format: str) -> None:
    texts, is_right = FIELDS[field]

    @settings(max_examples=150, deadline=None)
    @given(st.lists(texts, min_size=1, max_size=20))
    def held_to_the_rule(texts: list[str]) -> None:
        assert all(map(is_right, of_which_reading_is_sure(field, texts, format)))

    held_to_the_rule()


@pytest.mark.parametrize("format", ["jsonl", "csv"])
@pytest.mark.parametrize(
    ("field", "texts"),
    [
        ("email", ["a@b.co", "Jane.Doe+x_y-z@mail-1.example.com", "0.1.2@3.4-5.Co", f"{'a' * 57}@b.com"]),
        ("phone", ["+1234567", "+254712345678", "+999999999999999"]),
        ("address", ["1,,", "Rue de l'Église 5, 69002 Lyon, France", ",\t,7"]),
    ],
)
def test_reading_is_sure_of_ordinary_texts(field: str, texts: list[str], format: str) -> None:
    assert of_which_reading_is_sure(field, texts, format) == texts


@pytest.mark.parametrize(
    "address", ["a@b.test", "a@b.info", "a.@b.co", ".a@b.co", "a..b@b.co", "a@-b.co", "a@b-.co", "a@b--c.co", "a@co"]
)
def test_reading_is_not_sure_of_unusual_addresses(address: str) -> None:
    assert of_which_reading_is_sure("email", [address], "jsonl") == []
