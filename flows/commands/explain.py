"""`nightdrop explain`: the story of one record, as a person reads it. Takes no lock and changes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import date
from typing import Any

from rich.console import RenderableType
from rich.padding import Padding

from flows.settings import load_settings
from flows.terminal import Answer, line, table
from pipelines.explaining import Chapter, FieldStory, Finding, Relative, Story, Told
from pipelines.explaining import explain as tell
from pipelines.home import Home

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
    if chapter.fields:
        title = f"The record as it stood at the end of {story.as_of}" if story.as_of else "The record as it stands"
        text += [line(""), line(title, "bold"), _fields(field for field in chapter.fields if field.how != "absent")]
        absent = [field.name for field in chapter.fields if field.how == "absent"]
        text += (
            [_indented(f"null, for its create left them out and nothing sent them since: {', '.join(absent)}")] if absent else []
        )
    text += [line(""), line(_count(len(chapter.events), "event") + f" about it{by_then}", "bold")]
    for told in chapter.events:
        text += _event(told)
    if chapter.later:
        text.append(line(f"{_count(chapter.later, 'event')} after that date (without --as-of all are told)", "dim"))
    children = [relative for relative in chapter.relatives if not relative.parent]
    if children:
        text += [line(""), line("What hangs on it", "bold"), *_some(map(_relative, children), len(children))]
    if chapter.refused:
        words = [
            f"{refused.code}: {refused.step} of {refused.category} {refused.id}, {refused.position}"
            for refused in chapter.refused
        ]
        title = f"{_count(len(words), 'event')} of others rejected because of it"
        text += [line(""), line(title, "bold"), *_some(map(_indented, words), len(words))]
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
    return _indented(f"{of}{relative.category} {relative.id}: {life}{ended}")


def _fields(fields: Iterable[FieldStory]) -> RenderableType:
    rows = [
        (field.name, _short(_words(field.value), _VALUE_SHOWN), field.business_date, field.path, _where(field))
        for field in fields
    ]
    return table(("field", "value", "date", "drop", "line"), rows)


def _where(field: FieldStory) -> str:
    return " ".join(filter(None, (str(field.line or ""), f"({_WORDS[field.how]})" if field.how in _WORDS else "")))


def _event(told: Told) -> list[RenderableType]:
    style = "red" if told.verdict == "rejected" else ""
    text: list[RenderableType] = [line(f"{told.position}: {told.step or 'no step'}, {told.verdict}", style)]
    if told.replaced_by:
        with_ = f"line {told.replaced_by.its_line} of the file {told.replaced_by.sha256[:8]}"
        text.append(_indented(f"corrected by {with_}, resubmitted {told.replaced_by.submitted_at:%Y-%m-%d %H:%M:%S} UTC"))
    if told.sent is not None:
        sent = [f"{name}: {_short(_words(value), _VALUE_SHOWN)}" for name, value in told.sent.items()]
        text.append(_indented(f"sent     {', '.join(sent) or 'nothing but its id'}"))
    elif told.raw is not None:
        text.append(_indented(f"line     {_short(told.raw.decode('utf-8', 'backslashreplace'), _LINE_SHOWN)}"))
    else:
        text.append(_indented("sent     not known: neither the event log nor the archive has this line any more"))
    if told.reasons:
        text += [_indented(f"why not  {_finding(reason)}: {reason.message}") for reason in told.reasons]
        causes = dict.fromkeys((reason.cause, reason.cause_message) for reason in told.reasons if reason.cause)
        text += [_indented(f"cause    {cause}, which was rejected: {message}") for cause, message in causes]
    text += [_indented(f"warning  {_finding(warning)}: {warning.message}") for warning in told.warnings]
    for flip in told.flips:
        because = f" because of {flip.because_path}" if flip.because_path else ""
        text.append(_indented(f"changed  {flip.was} before, {flip.now} since run {flip.run_id}{because}"))
    return text


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
    return [*shown, _indented(f"and {count - _LISTED:,} more (--json lists all)")] if count > _LISTED else shown


def _indented(words: str) -> RenderableType:
    return Padding(line(words), (0, 0, 0, 4), expand=False)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
