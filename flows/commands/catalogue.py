"""`rules`: the catalogue of reasons as the schemas state it, and the lists of codes."""

from __future__ import annotations

from flows.terminal import Answer, table


def rules() -> Answer:
    """List every reason code: what it looks at, when it is given, and an example that earns it."""
    from validation.catalogue import catalogue

    names = ("code", "category", "fields", "when", "severity", "example")
    rows = [{name: getattr(entry, name) for name in names} for entry in catalogue()]
    cells = [[_words(row[name]) for name in names] for row in rows]
    return Answer({"rules": rows}, [table(names, cells)])


def codes(*, countries: bool, currencies: bool) -> Answer:
    """List the ISO codes that are taken: countries, currencies or both."""
    from validation import reference

    lists = {"countries": reference.countries() if countries else {}, "currencies": reference.currencies() if currencies else {}}
    data = {name: [{"code": code, "name": words} for code, words in found.items()] for name, found in lists.items() if found}
    return Answer(data, [table(("code", "name"), list(found.items())) for found in lists.values() if found])


def _words(value: object) -> object:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple | set | frozenset) else value
