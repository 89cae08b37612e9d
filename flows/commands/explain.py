"""`nightdrop explain`: the story of one record, as a person reads it. Takes no lock and changes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import date
from typing import Any

from rich.console import RenderableType

from flows.settings import load_settings
from flows.terminal import Answer, indented, line, table
from pipelines.explaining import explain as tell
from pipelines.home import Home
from pipelines.stories import Chapter, FieldStory, Finding, Relative, Story, Told

_VALUE_SHOWN = 200
_LINE_SHOWN = 500
_LISTED = 20
_WORDS = {"default": "the default: its create left it out", "unknown": "since then; the line that sent it is lost"}


def explain(home: Home, entity_id: str, *, category: str | None, as_of: date | None) -> Answer:
    """Tell the story of an id, in every category that has it."""
    story = tell(home, entity_id, category=category, as_of=as_of, sources=load_settings(home.root).sources)
    text: list[RenderableType] = []
    for chapter in story.chapters:
        text += [line("")] if text else []
        text += _chapter(story, chapter)
    return Answer(_data(story), text)


def _data(story: Story) -> dict[str, Any]:
    data = asdict(story)
    for chapter in data["chapters"]:
        for told in (*chapter["events"], *chapter["refused"]):
            told.update(told.pop("position")._asdict())
            for finding in told.get("reasons", ()):
                finding["cause"] = finding["cause"] and finding["cause"]._asdict()
    return data


def _chapter(story: Story, chapter: Chapter) -> list[RenderableType]:
    by_then = f" by the end of {story.as_of}" if story.as_of else ""
    text: list[RenderableType] = [line(f"{chapter.category} {story.id}: {_life(chapter)}{by_then}", "bold")]
    text += [_relative(relative) for relative in chapter.relatives if relative.parent]
    text += [line(""), line(_count(len(chapter.events), "event") + f" about it{by_then}", "bold")]
    held: dict[str, object] = {}
    for told in chapter.events:
        text += _event(told, held)
    if chapter.later:
        text.append(line(f"{_count(chapter.later, 'event')} after that date (without --as-of all are told)", "dim"))
    if chapter.fields:
        title = f"The record as it stood at the end of {story.as_of}" if story.as_of else "The record as it stands"
        text += [line(""), line(title, "bold"), _fields(field for field in chapter.fields if field.how != "absent")]
        absent = [field.name for field in chapter.fields if field.how == "absent"]
        text += (
            [indented(f"null, for its create left them out and nothing sent them since: {', '.join(absent)}")] if absent else []
        )
    children = [relative for relative in chapter.relatives if not relative.parent]
    if children:
        text += [line(""), line("What hangs on it", "bold"), *_some(map(_relative, children), len(children))]
    if chapter.refused:
        words = [
            f"{refused.code}: {refused.step} of {refused.category} {refused.id}, {refused.position}"
            for refused in chapter.refused
        ]
        title = f"{_count(len(words), 'event')} of others rejected because of it"
        text += [line(""), line(title, "bold"), *_some(map(indented, words), len(words))]
    return text


def _life(chapter: Chapter) -> str:
    if chapter.created_on is None:
        return "never created"
    ended = f", deleted {chapter.deleted_on}" if chapter.deleted_on else ""
    return f"created {chapter.created_on}, last changed {chapter.updated_on}{ended}"


def _relative(relative: Relative) -> RenderableType:
    life = f"created {relative.created_on}" if relative.created_on else "never created"
    ended = f", deleted {relative.deleted_on}" if relative.deleted_on else ""
    of = "of " if relative.parent else ""
    return indented(f"{of}{relative.category} {relative.id}: {life}{ended}")


def _fields(fields: Iterable[FieldStory]) -> RenderableType:
    rows = [
        (field.name, _short(_words(field.value), _VALUE_SHOWN), field.business_date, field.path, _where(field))
        for field in fields
    ]
    return table(("field", "value", "date", "drop", "line"), rows)


def _where(field: FieldStory) -> str:
    return " ".join(filter(None, (str(field.line or ""), f"({_WORDS[field.how]})" if field.how in _WORDS else "")))


def _event(told: Told, held: dict[str, object]) -> list[RenderableType]:
    """Tell one event; `held` has what the record held before it, and takes what it brings."""
    style = "red" if told.verdict == "rejected" else ""
    text: list[RenderableType] = [line(f"{told.position}: {told.step or 'no step'}, {told.verdict}", style)]
    if told.replaced_by:
        with_ = f"line {told.replaced_by.its_line} of the file {told.replaced_by.sha256[:8]}"
        text.append(indented(f"corrected by {with_}, resubmitted {told.replaced_by.submitted_at:%Y-%m-%d %H:%M:%S} UTC"))
    if told.sent is not None:
        sent = [_sent(name, value, held if told.step == "update" else {}) for name, value in told.sent.items()]
        text.append(indented(f"sent     {', '.join(sent) or 'nothing but its id'}"))
        held.update(told.sent if told.verdict == "applied" else {})
    elif told.raw is not None:
        text.append(indented(f"line     {_short(told.raw.decode('utf-8', 'backslashreplace'), _LINE_SHOWN)}"))
    else:
        text.append(indented("sent     not known: neither the event log nor the archive has this line any more"))
    if told.reasons:
        text += [indented(f"why not  {_finding(reason)}: {reason.message}") for reason in told.reasons]
        causes = dict.fromkeys((reason.cause, reason.cause_message) for reason in told.reasons if reason.cause)
        text += [indented(f"cause    {cause}, which was rejected: {message}") for cause, message in causes]
    if told.verdict == "rejected":
        text.append(indented(_next_step(told)))
    text += [indented(f"warning  {_finding(warning)}: {warning.message}") for warning in told.warnings]
    for flip in told.flips:
        because = f" because of {flip.because_path}" if flip.because_path else ""
        text.append(indented(f"changed  {flip.was} before, {flip.now} since run {flip.run_id}{because}"))
    return text


def _sent(name: str, value: object, held: dict[str, object]) -> str:
    """Return a value that was sent, and the one it stands in for."""
    now = _short(_words(value), _VALUE_SHOWN)
    before = held.get(name)
    return f"{name}: {now}" if before in (None, value) else f"{name}: {_short(_words(before), _VALUE_SHOWN)} → {now}"


def _next_step(told: Told) -> str:
    if any(reason.cause for reason in told.reasons):
        return "next     mend its cause: this one is decided again by itself"
    return f"next     mend its line in reports/{told.position.business_date}/, then `nightdrop resubmit` that file"


def _finding(finding: Finding) -> str:
    value = "" if finding.value is None else f" {_short(finding.value, _VALUE_SHOWN)!r}"
    return f"{finding.code}{f' ({finding.field}{value})' if finding.field else ''}"


def _words(value: object) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}… ({len(text):,} characters; --json gives all)"


def _some(lines: Iterable[RenderableType], count: int) -> list[RenderableType]:
    shown = [words for _, words in zip(range(_LISTED), lines, strict=False)]
    return [*shown, indented(f"and {count - _LISTED:,} more (--json lists all)")] if count > _LISTED else shown


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
