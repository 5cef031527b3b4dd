"""Mutants: valid files with a few words or numbers replaced, dropped, doubled or swapped, so that most of a file still means something."""

from __future__ import annotations

import random
import re

_WORDS = re.compile(rb"[A-Za-z0-9_.+-]+|\s+|.", re.DOTALL)

HOSTILE = [
    b"", b"0", b"-1", b"1", b"2", b"999", b"1e400", b"-1e400", b"nan", b"NaN", b"Infinity", b"1.5", b"9" * 30, b"9" * 5000, b"0x_",
    b"1:60", b"null",
    b"true", b"~", b"[]", b"{}", b"[[[[", b"]" * 9, b"{}" * 9, b"..", b"../../../etc/passwd", b"/etc/passwd", b"C:\\x", b"con", b"\0",
    b"\\u0000",
    b"\\ud800", b"\x1b[2J", b"\xff\xfe", b"\xef\xbb\xbf", "\u202e".encode(), b"\xc3\xa9", b"<script>", b"&lt;", b"&#0;", b"&x;",
    b"<!DOCTYPE a>",
    b"]]>", b"<!--", b"\"", b"'", b",", b"\t", b"\n", b"\r", b"\r\n", b" ", b"*a", b"&a ", b"<<: ", b"!!int ", b"!!float ", b"!!bool ",
    b"!!timestamp ",
    b"!!binary ", b"!!set ", b"!!omap ", b"!!python/object:os.system "
                                         b"", b"? ", b"- ", b": ", b"|", b">", b"%YAML 9.9\n", b"---\n", b"A" * 300, b"[" * 2000,
    b"<a>" * 2000, b"2001-99-99", b"12:99:99", b"s3://u:p@h/x", b"https://h/x?X-Amz-Signature=1", b"max", b"mean", b"=cmd()",
    b"\xed\xa0\x80",
]  # fmt: skip


def mutate(data: bytes, draw: random.Random, largest: int = 100_000) -> bytes:
    """Return a mutant of `data`, made of one to four changes."""
    words = _WORDS.findall(data[:largest])
    for _ in range(draw.choice((1, 1, 2, 4))):
        place = draw.randrange(len(words) + 1)
        what = draw.randrange(8)
        if what <= 2:
            words[place : place + 1] = [draw.choice(HOSTILE)]
        elif what == 3:
            words[place:place] = [draw.choice(HOSTILE)]
        elif what == 4:
            del words[place : place + draw.choice((1, 1, 3, 20))]
        elif what == 5:
            words[place:place] = words[place : place + draw.choice((1, 5, 40))] * draw.choice((1, 2, 30))
        elif words:
            other = draw.randrange(len(words))
            words[place : place + 1] = [words[other]]
    return b"".join(words)[:largest]


_NUMBERS = (
    0,
    1,
    2,
    3,
    5,
    7,
    8,
    12,
    16,
    32,
    255,
    256,
    4096,
    2**15,
    2**16 - 1,
    2**20,
    2**24,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**62,
    2**64 - 1,
)
_HEADER = 400  # of this many bytes most changes are made: further on there are pixels


def mutate_binary(data: bytes, draw: random.Random, largest: int = 100_000) -> bytes:
    """Return a mutant of a binary file, made of one to four changes of its numbers and their order."""
    content = bytearray(data[:largest])
    for _ in range(draw.choice((1, 1, 2, 4))):
        place = draw.randrange(max(1, min(len(content), draw.choice((_HEADER, _HEADER, len(content))))))
        place -= draw.choice((0, place % 2))
        size, order = draw.choice((1, 2, 2, 4, 4, 8)), draw.choice(("little", "little", "big"))
        what = draw.randrange(8)
        if what <= 3:
            number = draw.choice((*_NUMBERS, place, len(content), draw.randrange(2**16)))
            content[place : place + size] = (number % 256**size).to_bytes(size, order)  # type: ignore[arg-type]
        elif what == 4:
            before = int.from_bytes(content[place : place + size], order)  # type: ignore[arg-type]
            after = before + draw.choice((-1, 1, 2, -before // 2, before))
            content[place : place + size] = (after % 256**size).to_bytes(size, order)  # type: ignore[arg-type]
        elif what == 5:
            other = draw.randrange(max(1, min(len(content), _HEADER)))
            content[place : place + 12] = content[other : other + 12]  # an entry of a TIFF's page
        elif what == 6:
            del content[place : place + draw.choice((1, 2, 12, 100))]
        elif content:
            content[place:place] = content[place : place + draw.choice((2, 12, 100))] * draw.choice((1, 2, 30))
    return bytes(content[:largest])
