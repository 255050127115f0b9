"""What each target really meets, to be mutated, and values that break parsers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

from ragd.heartbeat import Heartbeat
from ragd.index.snapshot import MANIFEST as MANIFEST_KIND
from ragd.index.snapshot import ROWS, FileEntry, Manifest, file_name
from tests.exchange.files import dce_message, document
from tests.store.factories import CHANNEL, at

_BEAT = Heartbeat("capture", 4242, "running", 1.0, 2.0, 3, "", {"connected": True})
_INDEX = Manifest(
    format=1,
    generation=1,
    model_key="m",
    dimension=384,
    strategy="temporal",
    position=7,
    count=3,
    deleted=0,
    unpurged=0,
    parameters={"M": 16},
    created_at="2026-01-01T00:00:00+00:00",
    files={file_name(ROWS, 1): FileEntry(size=1, sha256="0" * 64)},
).sealed()
_EXPORT = document(
    [
        dce_message(at(0), "hello <@5> :wave:", reactions=[{"emoji": {"name": "x"}, "count": 2}]),
        dce_message(at(60), embeds=[{"title": "t", "fields": [{"name": "a", "value": "b"}]}], mentions=[{"id": "5"}]),
        dce_message(at(120), attachments=[{"id": "1", "fileName": "a.png", "url": "https://x"}], type="Reply"),
    ]
)
_DEEP: dict[str, object] = {"type": "Button", "label": "go"}
for _ in range(150):
    _DEEP = {"type": "Container", "components": [_DEEP]}
_EXTREME = document(
    [
        dce_message(at(0), components=[_DEEP], reactions=[{"emoji": {"name": "x"}, "count": 2**64 - 1}] * 2),
        dce_message(2**63 - 1, attachments=[{"id": "1", "fileName": "a", "fileSizeBytes": 2**64 - 1}]),
    ],
    dateRange={"after": "9999-12-31T23:59:59", "before": "0001-01-01T00:00:00+14:00"},
)
_SCRIPT = {
    "guild": {"name": "Lab"},
    "users": {"ann": {"name": "Ann"}},
    "channels": [{"key": "general", "name": "general"}],
    "steps": [{"at": "0d 10:00:00", "in": "general", "by": "ann", "text": "hi"}],
}


def _bytes(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


SOUND_BACKUP = _bytes(
    {
        "sha256": "0" * 64,
        "size_bytes": 10,
        "migration": 5,
        "messages": 1,
        "created_at": "2026-01-01T00:00:00+00:00",
        "ragd_version": "0.1.0",
        "sqlite_version": "3.51.3",
        "keep": 7,
        "instance": "0123456789abcdef",
    }
)
"""The manifest of one of ten bytes."""

_ODD_TIMES = (
    b"2026-01-01",
    b"0001-01-01T00:00:00+23:59",
    b"9999-12-31T23:59:59+00:00",
    b"2026-01-01\\u001b00:00:00+00:00",
)

SEEDS: Mapping[str, tuple[bytes, ...]] = {
    "query": (
        b'from:ann in:general has:link "rain gauge" -roof since:7d before:2026-01-31 gauge',
        "日本語 🎉 from:<@5> in:<#10> after:2026-01 ‘x’ “phrase” x_y=1 https://a.example/b".encode(),
        b"from:99999999999999999999999 in:99999999999999999999999 since:99999w before:0001 has:code",
        b'NEAR("a b", 3) AND text:gauge* OR marks : x {a} ^b + c" "" -"" from:"" in:"',
        "from:² in:٣ since:٣d before:²".encode(),
    ),
    "since": (b"7d", b"2026-01-31", b"2026-01-31T12:00:00+02:00", b"999999w", b"0001-01-01T00:00+14:00"),
    "request": (
        _bytes({"query": "rain gauge", "access": "operator", "limit": 5, "channel": "general", "author": "ann"}),
        _bytes({"query": "gauge", "access": {"channels": [CHANNEL, 1 << 70]}, "since": 1e300, "author": "²"}),
        _bytes({"query": "gauge", "access": {"channels": []}, "since": "2026-01-01", "channel": "9" * 30}),
    ),
    "canary": (_bytes({"words": "ragd canary"}),),
    "importer": (_bytes(_EXPORT), _bytes(_EXTREME)),
    "json_stream": (_bytes(_EXPORT), b"\xef\xbb\xbf" + _bytes({"messages": [[], {}, "", 1, None]})),
    "heartbeat": (_bytes(asdict(_BEAT)),),
    "index_manifest": (_INDEX.model_dump_json().encode(),),
    "backup_manifest": (
        SOUND_BACKUP,
        SOUND_BACKUP.replace(b'"keep": 7', b'"keep": 10000').replace(b"2026-01-01", b"2099-12-31"),
        *(SOUND_BACKUP.replace(b"2026-01-01T00:00:00+00:00", odd) for odd in _ODD_TIMES),
    ),
    "sandbox_export": (_bytes(_EXPORT),),
    "sandbox_script": (_bytes(_SCRIPT),),
}
assert MANIFEST_KIND

VALUES = (
    b"null",
    b"true",
    b"-1",
    b"0",
    b"1.5",
    b"1e999",
    b"1e308",
    b"9" * 30,
    b"9" * 5000,
    b'""',
    b'"\\ud800"',
    b'"\\u0000"',
    b'"2026-13-45"',
    b'"0001-01-01T00:00:00+14:00"',
    b'"9999-12-31T23:59:59-14:00"',
    b'"18446744073709551616"',
    '"²"'.encode(),
    b"[]",
    b"{}",
    b"[" * 3000 + b"]" * 3000,
    b'{"a":' * 3000 + b"1" + b"}" * 3000,
    b"\xff\xfe",
    b"\x00",
    b'{"__proto__": 1, "channels": [true]}',
)
"""Put in place of values."""
