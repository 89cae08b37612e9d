"""What the formats of the OpenAPI document mean, for schemathesis, which loads this file as its hooks."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pycountry
import schemathesis
from hypothesis import strategies as st

PLAIN = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp"))
TEXT = st.text(PLAIN, min_size=1, max_size=40)
PICTURE = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(16)).decode()
JSON = st.dictionaries(TEXT, st.one_of(st.integers(), st.booleans(), TEXT, st.none()), max_size=3)
FORMATS = {
    "text": TEXT,
    "reference": TEXT.filter(lambda text: text not in (".", "..")),
    "past-date": st.dates(max_value=datetime.now(UTC).date() - timedelta(days=1)).map(str),
    "country": st.sampled_from([name for each in pycountry.countries for name in (each.alpha_2, each.name)]),
    "email": st.from_regex(r"[a-z]{1,9}\.[a-z]{1,9}@(example|mail)\.(com|org)", fullmatch=True),
    "image": st.sampled_from([PICTURE, f"data:image/png;base64,{PICTURE}", "https://example.com/a.png"]),
    "json-object": JSON.map(json.dumps),
}
for name, strategy in FORMATS.items():
    schemathesis.openapi.format(name, strategy)
