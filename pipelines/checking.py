"""Check events against the rules that look at the event alone. Pure.

Takes sheets as reading gives them, any number of drops together; gives typed events, and reasons and warnings as data.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt
import polars as pl

from pipelines.positions import position
from validation.entities import ENTITIES
from validation.fields import STEP, Entity, Field
from validation.findings import describe, fill, find
from validation.rulebook import RuleBook
from validation.rules import SOURCE, TYPED, Rule, bits, flagged
from validation.values import typed, without_exponents

KEYS = {"drop": pl.UInt32(), "line": pl.Int64()}
"""What names an event: its drop's number in this run, and its line."""
INDEX = {
    **KEYS,
    "byte_offset": pl.Int64(),
    "byte_length": pl.Int64(),
    "category": pl.String(),
    "step": pl.String(),
    "entity_id": pl.String(),
    "parent_id": pl.String(),
    "sound": pl.Boolean(),
    "refused": pl.Boolean(),
    "reasons": pl.UInt32(),
    "warnings": pl.UInt32(),
}
REASONS = {**KEYS, "code": pl.String(), "field": pl.String(), "value": pl.String(), "message": pl.String()}
_NO_REASONS = pl.DataFrame(schema=REASONS)

_FEW = 2
"""A field that one in so many events sends, or fewer, is worked out for these alone."""

_LINE_MESSAGES = {
    "line_too_long": "the record is over 1 MiB; wanted one event a record, each under 1 MiB",
    "invalid_encoding": "the record is not UTF-8, or not in the encoding that nightdrop.toml says of its source; wanted the file "
    "saved so",
    "malformed_json": "the line is not JSON; wanted one JSON object a line, without NaN, Infinity or half a surrogate pair, "
    "at most 64 levels deep",
    "not_an_object": "the line is JSON but no object; wanted an object with category and data",
    "duplicate_key": 'the key "{value}" stands twice; wanted each key once',
    "unknown_category": "the category {value} is unknown; wanted client, loan, payment, deposit or disbursement",
    "missing_data": "there is no object under data; wanted the event's fields there",
    "ragged_row": "the row has not as many cells as the header, or a lone CR; wanted one cell a column",
}


@dataclass(frozen=True, slots=True)
class Checked:
    """What checking gives for some events.

    `events`: category -> sound events, typed: drop, line, step, sent (bit 0 `step`, bit i the i-th field), the fields.
    `index`: every record (columns `INDEX`), in the order of drop and line; `refused` by a line or event rule, `reasons` and
    `warnings` how many of each it has: whoever takes rows of these on can see that none was lost (`conservation`).
    `reasons`, `warnings`: a row each (columns `REASONS`); warnings of sound events only.
    """

    events: dict[str, pl.DataFrame]
    index: pl.DataFrame
    reasons: pl.DataFrame
    warnings: pl.DataFrame


def check(sheets: Mapping[str, pl.DataFrame], unread: pl.DataFrame, rules: RuleBook) -> Checked:
    """Check sheets (category -> sheet with `drop`, and `drop.source` when rules ask for it); take in the unread lines."""
    events: dict[str, pl.DataFrame] = {}
    index = [_index_of_unread(unread)]
    reasons = [_reasons_of_unread(unread)]
    warnings = []
    for category, sheet in sheets.items():
        checked = _check_sheet(ENTITIES[category], sheet, rules)
        events |= checked.events
        index.append(checked.index)
        reasons.append(checked.reasons)
        warnings.append(checked.warnings)
    return Checked(
        events,
        pl.concat(index).sort(position(pl.col("drop").cast(pl.Int64))),  # in a fifth of the time that two columns take
        pl.concat(reasons),
        pl.concat(warnings) if warnings else _NO_REASONS,
    )


def _check_sheet(entity: Entity, sheet: pl.DataFrame, rules: RuleBook) -> Checked:
    frame = _with_values(entity, one_spelling(entity, _in_one_piece(sheet)))
    event_rules = rules.event_rules[entity.category]
    found = find(f"{entity.category} event", event_rules, frame)
    is_warning = pl.col("code").is_in([rule.code for rule in event_rules if rule.severity == "warning"])
    warned, broken = found.filter(is_warning), found.filter(~is_warning)

    reasons = [describe(broken, event_rules, frame)]
    create_rules = [_guarded(rule, entity) for rule in rules.record_rules[entity.category] if _applies_to_creates(rule)]
    creates = _created(entity, frame, broken, {name for rule in create_rules for name in (rule.field, *rule.reads)})
    dependent = find(f"{entity.category} record", create_rules, creates)
    described = describe(dependent, create_rules, creates)
    reasons.append(described.with_columns(row=creates["row"][described["row"]]))
    all_reasons = pl.concat(reasons)

    times = _times(all_reasons, frame)
    warned = _describe_warnings(warned.filter(pl.Series(times[warned["row"].to_numpy()] == 0)), event_rules, frame)
    frame = frame.hstack(
        [
            pl.Series("sound", times == 0),
            pl.Series("refused", _times(broken, frame) > 0),
            pl.Series("reasons", times, dtype=pl.UInt32),
            pl.Series("warnings", _times(warned, frame), dtype=pl.UInt32),
        ]
    )
    return Checked(
        {entity.category: _sound_events(entity, frame)},
        frame.select(*_index(entity)),
        _named(all_reasons, frame),
        _named(warned, frame),
    )


def _times(found: pl.DataFrame, frame: pl.DataFrame) -> npt.NDArray[np.int64]:
    """Return how often each row of a frame is named in what was found."""
    return np.bincount(found["row"].to_numpy(), minlength=len(frame))


def _in_one_piece(sheet: pl.DataFrame) -> pl.DataFrame:
    """Return a sheet made of parts as one, one null for all rows in the place of each column that has nothing else.

    At every step on a frame some of whose columns have parts and some not, Polars would fit them to each other again.
    """
    return sheet.with_columns(
        pl.lit(None, dtype=column.dtype).alias(column.name) for column in sheet if column.null_count() == len(sheet)
    ).rechunk()


def one_spelling(entity: Entity, sheet: pl.DataFrame) -> pl.DataFrame:
    """Fold every alias into its field: masks then have bit 0 for step and bit i for the i-th field; adds `conflict`."""
    return sheet.with_columns(*_folded(entity)).drop(field.alias for field in entity.fields if field.alias)


@cache
def _folded(entity: Entity) -> tuple[pl.Expr, ...]:
    """Return the masks and fields of `one_spelling`."""
    places = {name: bit for bit, name in enumerate(entity.spellings)}
    with_alias = [(field.name, field.alias, places[field.name], places[field.alias]) for field in entity.fields if field.alias]
    kept = bits((1 << (len(entity.fields) + 1)) - 1)
    sent, wrong, conflict = pl.col("sent") & kept, pl.col("wrong") & kept, bits(0)
    texts = []
    for name, alias, bit, other in with_alias:
        plain_sent, other_sent = flagged("sent", bit), flagged("sent", other)
        only_other = other_sent & ~plain_sent
        texts.append(pl.when(only_other).then(pl.col(alias)).otherwise(pl.col(name)).alias(name))
        sent |= _bit_if(only_other, bit)
        wrong |= _bit_if(only_other & flagged("wrong", other), bit)
        conflict |= _bit_if(plain_sent & other_sent & pl.col(name).ne_missing(pl.col(alias)), bit)
    return (*texts, sent.alias("sent"), wrong.alias("wrong"), conflict.alias("conflict"))


def _bit_if(condition: pl.Expr, bit: int) -> pl.Expr:
    return pl.when(condition).then(bits(1 << bit)).otherwise(bits(0))


def _with_values(entity: Entity, frame: pl.DataFrame) -> pl.DataFrame:
    """Add `typed.<field>` for every field that is no text, null where the JSON type is wrong."""
    plain = frame.with_columns(without_exponents(frame[field.name]).alias(TYPED + field.name) for field in _decimals(entity))
    return plain.with_columns(
        pl.when(~flagged("wrong", bit))
        .then(_typed(plain[TYPED + field.name if field in _decimals(entity) else field.name], field))
        .alias(TYPED + field.name)
        for bit, field in enumerate(entity.fields, start=1)
        if not _is_text(field)
    )


def _typed(texts: pl.Series, field: Field) -> pl.Expr:
    """Return the values that a frame's texts stand for; where few are sent, nothing is asked of the others."""
    sent = len(texts) - texts.null_count()
    if not sent:
        return pl.lit(None, dtype=field.type.dtype)
    column, is_sent = pl.col(texts.name), pl.col(texts.name).is_not_null()
    if sent * _FEW > len(texts):
        return typed(column, field)
    # Before the first that is sent it is -1, which stands for the last and is not looked at.
    place = is_sent.cum_sum().cast(pl.Int64) - 1
    return pl.when(is_sent).then(typed(column.drop_nulls(), field).gather(place))


def _decimals(entity: Entity) -> list[Field]:
    return [field for field in entity.fields if isinstance(field.type.dtype, pl.Decimal)]


def _is_text(field: Field) -> bool:
    return field.type.dtype == pl.String()


@cache
def _values(entity: Entity) -> dict[str, pl.Expr]:
    """Return by field its value in a frame of events as sent, with the default of a create that does not send it."""
    values = {}
    for bit, field in enumerate(entity.fields, start=1):
        value = pl.col(field.name) if _is_text(field) else pl.col(TYPED + field.name)
        if field.default is not None:
            absent_on_create = (pl.col(STEP.name) == "create") & ~flagged("sent", bit)
            value = pl.when(absent_on_create).then(pl.lit(field.default)).otherwise(value)
        values[field.name] = value.alias(field.name)
    return values


def _created(entity: Entity, frame: pl.DataFrame, broken: pl.DataFrame, names: Collection[str]) -> pl.DataFrame:
    """Return the records that creates would make: `row` in the frame, some fields, and `faulty` (bit i: field i has a reason)."""
    faulty = np.zeros(len(frame), dtype=np.uint64)
    if not broken.is_empty():
        masks = {name: 1 << bit for bit, name in enumerate((STEP.name, *entity.names))}
        of_fields = broken["field"].replace_strict(masks, return_dtype=pl.UInt64)
        np.bitwise_or.at(faulty, broken["row"].to_numpy(), of_fields.to_numpy())
    sent_by = [SOURCE] if SOURCE in frame.columns else []
    values = (value for name, value in _values(entity).items() if name in names)
    created = frame.select(*sent_by, *values, is_created=pl.col(STEP.name) == "create")
    rows = created.drop_in_place("is_created").arg_true()
    return created[rows].hstack([rows.alias("row"), pl.Series("faulty", faulty)[rows]])


def _applies_to_creates(rule: Rule) -> bool:
    return rule.on_create and not rule.waits_for_parent and rule.severity == "error"


def _guarded(rule: Rule, entity: Entity) -> Rule:
    """Return the rule, silent where a field it reads already has a reason."""
    mask = sum(1 << bit for bit, name in enumerate((STEP.name, *entity.names)) if name in rule.reads)
    unhurt = (pl.col("faulty") & bits(mask)) == bits(0)
    return replace(rule, broken=rule.broken & unhurt)


def _sound_events(entity: Entity, frame: pl.DataFrame) -> pl.DataFrame:
    # First the columns that are asked for, then the rows: of a wide frame all would be filtered.
    events = frame.select("drop", "line", STEP.name, "sent", *_values(entity).values())
    return events if frame["sound"].all() else events.filter(frame["sound"])


@cache
def _index(entity: Entity) -> tuple[pl.Expr, ...]:
    """Return the columns `INDEX` of a frame of events as sent."""
    places = {name: bit for bit, name in enumerate((STEP.name, *entity.names))}

    def read(name: str | None) -> pl.Expr:
        """Return the text of a field where it was sent as a text."""
        if name is None:
            return pl.lit(None, dtype=pl.String)
        return pl.when(~flagged("wrong", places[name])).then(pl.col(name))

    told = {
        "category": pl.lit(entity.category),
        "step": read(STEP.name),
        "entity_id": read(entity.id),
        "parent_id": read(entity.parent_id),
    }
    return tuple(told.get(name, pl.col(name)).alias(name) for name in INDEX)


def _named(described: pl.DataFrame, frame: pl.DataFrame) -> pl.DataFrame:
    """Replace `row` by the event's drop and line."""
    if described.is_empty():
        return _NO_REASONS
    keys = frame.select("drop", "line")[described["row"]]
    return pl.concat([keys, described.drop("row")], how="horizontal").select(*REASONS)


def _describe_warnings(warned: pl.DataFrame, rules: Sequence[Rule], frame: pl.DataFrame) -> pl.DataFrame:
    """Describe warnings; an unknown field is a row a field, and an empty update names none."""
    if warned.is_empty():
        return describe(warned, rules, frame)
    described = describe(warned.filter(~pl.col("code").is_in(["unknown_field"])), rules, frame)
    described = described.with_columns(field=pl.when(pl.col("field") != "sent").then(pl.col("field")))
    unknown = warned.filter(pl.col("code") == "unknown_field")
    if unknown.is_empty():
        return described
    one_each = (
        pl.concat([unknown.select("row", "code"), frame.select("unknown")[unknown["row"]]], how="horizontal")
        .explode("unknown")
        .select("row", "code", field=pl.col("unknown").struct.field("name"), value=pl.col("unknown").struct.field("value"))
    )
    words = next(rule.message for rule in rules if rule.code == "unknown_field")
    return pl.concat([described, one_each.with_columns(message=fill(words))])


def _index_of_unread(unread: pl.DataFrame) -> pl.DataFrame:
    nothing = pl.lit(None, dtype=pl.String)
    return unread.select(
        "drop",
        "line",
        "byte_offset",
        "byte_length",
        "category",
        step=nothing,
        entity_id=nothing,
        parent_id=nothing,
        sound=pl.lit(False),
        refused=pl.lit(True),
        reasons=pl.lit(1, dtype=pl.UInt32),
        warnings=pl.lit(0, dtype=pl.UInt32),
    )


def _reasons_of_unread(unread: pl.DataFrame) -> pl.DataFrame:
    if unread.is_empty():
        return _NO_REASONS
    of_code = unread.partition_by("code", as_dict=True)
    messages = [of_code[code,].with_columns(message=fill(words)) for code, words in _LINE_MESSAGES.items() if (code,) in of_code]
    nothing = pl.lit(None, dtype=pl.String)
    return pl.concat(messages).select("drop", "line", "code", field=nothing, value="value", message="message")
