"""The loop an engineer writes first: orjson, a Pydantic model per event, a dict of clients, DuckDB at the end.

    python benchmarks/loop.py FOLDER DROP…

The client rules of the contract, but no warnings, no histories, no positions and nothing that a later drop could change.
It imports nothing of nightdrop.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import duckdb
import orjson
import pyarrow as pa
import pycountry
from pydantic import AfterValidator, BaseModel, ConfigDict, EmailStr, StringConstraints, ValidationError

Text = Annotated[str, StringConstraints(pattern=r"^[\t\n\r\P{Cc}]*[^\s\p{Cc}][\t\n\r\P{Cc}]*$")]
Id = Annotated[str, StringConstraints(pattern=r"^[^\s\p{Cc}](?:[\t\n\r\P{Cc}]{0,126}[^\s\p{Cc}])?$")]
Phone = Annotated[str, StringConstraints(pattern=r"^\+[1-9][0-9]{6,14}$")]
if TYPE_CHECKING:
    Country = str
else:
    Country = Literal[tuple(country.alpha_2 for country in pycountry.countries)]
Gender = Literal["male", "female", "company"]
_DATE = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)")


def _day(text: str) -> str:
    found = _DATE.match(text)
    if not found:
        raise ValueError("wanted YYYY-MM-DD or YYYYMMDD")
    return date(*map(int, found.groups())).isoformat()


_TIME = r"([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]+)?)?(Z|[+-]([01][0-9]|2[0-3])(:?[0-5][0-9])?)?)?"
Day = Annotated[str, StringConstraints(pattern=rf"^[0-9]{{4}}(-[0-9]{{2}}-[0-9]{{2}}|[0-9]{{4}}){_TIME}$"), AfterValidator(_day)]


class Delete(BaseModel):
    """What a delete is judged by."""

    model_config = ConfigDict(strict=True)
    step: Literal["delete"]
    client_id: Id


class Update(BaseModel):
    """Fields absent keep their value; a required one must not become null."""

    model_config = ConfigDict(strict=True)
    step: Literal["update"]
    client_id: Id
    name: Text = ""
    email: EmailStr = ""
    phone: Phone = ""
    address: Text = ""
    country: Country = ""
    is_company: bool = False
    registration_number: Text = ""
    gender: Gender = "male"
    contact_person: Text | None = None
    info: dict[str, Any] | None = None
    first_name: Text | None = None
    middle_name: Text | None = None
    last_name: Text | None = None
    dob: Day | None = None
    image: Text | None = None
    city: Text | None = None
    state: Text | None = None


class Create(BaseModel):
    """A whole client."""

    model_config = ConfigDict(strict=True)
    step: Literal["create"]
    client_id: Id
    name: Text
    email: EmailStr
    phone: Phone
    address: Text
    country: Country
    is_company: bool
    registration_number: Text
    gender: Gender
    contact_person: Text | None = None
    info: dict[str, Any] | None = None
    first_name: Text | None = None
    middle_name: Text | None = None
    last_name: Text | None = None
    dob: Day | None = None
    image: Text | None = None
    city: Text | None = None
    state: Text | None = None


MODELS: dict[object, type[BaseModel]] = {"create": Create, "update": Update, "delete": Delete}
FIELDS = [name for name in Create.model_fields if name != "step"]
Row = dict[str, Any]
Reasons = list[tuple[str, str]]


class Refused(Exception):
    """An event breaks rules: code and field of each."""

    def __init__(self, *reasons: tuple[str, str]) -> None:
        self.reasons: Reasons = list(reasons)


def read(line: bytes) -> Row:
    """Return the data of a line, or raise Refused."""
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise Refused(("malformed_json", "")) from None
    if not isinstance(event, dict):
        raise Refused(("not_an_object", ""))
    if line.count(b'":') != _keys(event):  # orjson keeps the last of two keys and says nothing: look closer
        json.loads(line, object_pairs_hook=_once)
    if event.get("category") != "client":
        raise Refused(("unknown_category", "category"))
    data = event.get("data")
    if not isinstance(data, dict):
        raise Refused(("missing_data", "data"))
    return data


def _keys(event: Row) -> int:
    return len(event) + sum(_keys(value) for value in event.values() if type(value) is dict)


def _once(pairs: list[tuple[str, Any]]) -> Row:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Refused(("duplicate_key", ""))
    return found


class Clients:
    """The clients as they stand, the deleted ones among them."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.deleted: set[str] = set()

    def apply(self, data: Row) -> None:
        """Apply one event, or raise Refused."""
        model = MODELS.get(data.get("step"))
        if model is None:
            raise Refused(("unknown_step", "step"))
        try:
            event = model.model_validate(data)
        except ValidationError as error:
            raise Refused(*((one["type"], str(one["loc"][0])) for one in error.errors(include_url=False))) from None
        fields = event.model_dump(exclude_unset=True)
        step, client_id = fields.pop("step"), fields["client_id"]
        before = self.rows.get(client_id)
        if step == "create":
            if before is not None:
                raise Refused(("client_exists", "client_id"))
        elif before is None:
            raise Refused(("client_unknown", "client_id"))
        elif client_id in self.deleted:
            raise Refused(("client_deleted", "client_id"))
        if step == "delete":
            self.deleted.add(client_id)
            return
        merged = {**before, **fields} if before else fields
        reasons = depending(merged)
        if reasons:
            raise Refused(*reasons)
        self.rows[client_id] = merged


def depending(client: Row) -> Reasons:
    """Return which field dependencies a client breaks."""
    reasons = []
    company = client["is_company"]
    if (client["gender"] == "company") != company:
        reasons.append(("gender_company_mismatch", "gender"))
    if company and not client.get("contact_person"):
        reasons.append(("contact_person_required", "contact_person"))
    number = client["registration_number"]
    if not (number.startswith("CR-") and len(number) > 3 if company else re.match(r"(?s:(ID|PASS)-.+)", number)):
        reasons.append(("registration_number_type", "registration_number"))
    return reasons


def lines(drops: list[str]) -> Iterator[tuple[str, int, bytes]]:
    """Return every line of the drops that is not blank, with its drop and number."""
    for drop in sorted(drops):
        with Path(drop).open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield drop, number, line


def main() -> None:
    """Read, decide, publish, report."""
    folder, *drops = sys.argv[1:]
    clients = Clients()
    applied, refused, bounced = 0, [], []
    for drop, number, line in lines(drops):
        try:
            clients.apply(read(line))
            applied += 1
        except Refused as refusal:
            bounced.append(line)
            refused += [{"path": drop, "line": number, "code": code, "field": field} for code, field in refusal.reasons]
    publish(Path(folder), clients, refused)
    (Path(folder) / "rejected.jsonl").write_bytes(b"".join(bounced))
    sys.stdout.write(json.dumps({"events": applied + len(bounced), "applied": applied, "rejected": len(bounced)}))


def publish(folder: Path, clients: Clients, refused: list[dict[str, Any]]) -> None:
    """Write the warehouse beside its place and move it there; whole columns go in through Arrow."""
    columns: dict[str, list[Any]] = {name: [row.get(name) for row in clients.rows.values()] for name in FIELDS}
    columns["info"] = [info if info is None else orjson.dumps(info).decode() for info in columns["info"]]
    columns["deleted"] = [client_id in clients.deleted for client_id in clients.rows]
    texts = {name: pa.array(values, pa.string()) for name, values in columns.items() if name not in ("is_company", "deleted")}
    flags = {name: pa.array(columns[name], pa.bool_()) for name in ("is_company", "deleted")}
    reasons = pa.schema([("path", pa.string()), ("line", pa.int64()), ("code", pa.string()), ("field", pa.string())])
    draft = folder / "warehouse.duckdb.tmp"
    with duckdb.connect(str(draft)) as con:
        con.register("client_rows", pa.table({**texts, **flags}))
        con.execute("CREATE TABLE clients AS SELECT * REPLACE (info::JSON AS info, dob::DATE AS dob) FROM client_rows").fetchall()
        con.register("refused_rows", pa.Table.from_pylist(refused, reasons))
        con.execute("CREATE TABLE rejections AS FROM refused_rows").fetchall()
    draft.replace(folder / "warehouse.duckdb")


if __name__ == "__main__":
    main()
