"""Which files a log consists of, what each is by its content, and its bytes, decompressed on the way."""

import lzma
import os
import sys
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from glob import glob
from io import BufferedReader
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, NamedTuple
from zlib import crc32

from polars.exceptions import PolarsError

from nearnext.data.arrow import arrow
from nearnext.errors import DataError, NearnextError

Format = Literal["text", "jsonl", "parquet", "empty"]

SAMPLE = 1 << 20
BLOCK = 1 << 22
LONGEST_ROW = 1 << 28
BOM = b"\xef\xbb\xbf"
LOG_SUFFIXES = {".csv", ".tsv", ".txt", ".dat", ".psv", ".jsonl", ".ndjson", ".json", ".parquet", ".pq", ".inter"}
COMPRESSED_SUFFIXES = {".gz", ".bz2", ".xz", ".zst", ".zstd", ".lz4"}
LONGEST_NAME = 4096
"""Characters of the longest path that systems take; a longer one is the text of a log."""
HEAD = 4096
"""Bytes of text that most files of one size differ in."""
MAGIC = 6
"""Bytes that tell what a file is."""
COMPRESSIONS = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"\xfd7zXZ": "xz",
}
FOREIGN = {
    b"PK\x03\x04": "a ZIP archive or a spreadsheet",
    b"7z\xbc\xaf": "a 7z archive",
    b"ARROW1": "an Arrow or Feather file",
    b"Obj\x01": "an Avro file",
    b"\xff\xfe\0\0": "UTF-32 text",
    b"\0\0\xfe\xff": "UTF-32 text",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}
TABLES = {"_delta_log": "a Delta", ".hoodie": "a Hudi"}
"""What a table format keeps in its folder."""

CHANGED = "{} was replaced or cut off while it was read; read it again once it is complete, or read a copy"

MODEL = ("manifest.json", "state.safetensors")
"""Files that every model folder has."""


@dataclass(frozen=True)
class LogFile:
    """One file of a log: where it is, what it is, how it is compressed, its size in bytes, how its text begins."""

    path: Path
    format: Format
    compression: str | None
    size: int
    sample: bytes


class FileState(NamedTuple):
    """The identity of a file, to notice that another one has replaced it."""

    inode: int
    modified: int  # nanoseconds
    size: int  # bytes
    checksum: int  # CRC-32 of the first MiB

    @classmethod
    def of(cls, path: Path, n: int = SAMPLE) -> "FileState":
        """The state of a file now; its checksum is of at most ``n`` bytes."""
        with data_errors(path), path.open("rb") as file:
            found = os.fstat(file.fileno())
            return cls(found.st_ino, found.st_mtime_ns, found.st_size, crc32(file.read(min(n, SAMPLE))))

    def require(self, path: Path) -> None:
        """Raise a DataError if the file at a path was replaced or cut off; appended text is allowed."""
        now = FileState.of(path, self.size)
        moved = now.inode != self.inode and now.modified != self.modified  # some file systems number files again
        if moved or now.size < self.size or now.checksum != self.checksum:
            raise DataError(CHANGED.format(path))


def log_files(source: str | Path, leave_out: Path | None = None, *, what: str = "log") -> tuple[list[Path], list[str]]:
    """The files of a log or of what else an error calls it, sorted by name, and the names of what is left out.

    A log is one file, the log files of a folder by their names, or what a glob matches. Left out are files with other
    names, folders inside, links to nothing, empty files, and files that hold what one before them holds (a link to it,
    a copy, also compressed), but not what programs keep for themselves (``.name`` and ``_name`` without the ending of
    a log).
    """
    if not 0 < (length := len(str(source))) <= LONGEST_NAME:
        shown = f"a text of {length:,} characters" if length else "an empty text"
        raise DataError(f"expected the name of the {what}, found {shown}; name a file, a folder or a glob")
    path = Path(source)
    with data_errors(path):
        if path.is_dir():
            if table := next((kind for name, kind in TABLES.items() if (path / name).is_dir()), None):
                raise DataError(
                    f"{path} is {table} table, whose files also hold rows that were deleted or replaced; give it as a "
                    f"frame or one Parquet file, or name {path}/*.parquet to read all files"
                )
            if all((path / name).is_file() for name in MODEL):
                raise DataError(f"{path} is a model made by fit, expected a {what}; name its file or folder")
            held = [file for file in sorted(path.iterdir()) if leave_out is None or not same_path(file, leave_out)]
            found = [file for file in held if _is_log(file)]
            if not found:
                below = next((file.suffix for file in path.rglob("*") if _is_log(file)), ".csv")
                raise DataError(
                    f"no {what} files directly in folder {path}; expected names that end in "
                    f"{', '.join(sorted(LOG_SUFFIXES))}; name a file or a glob such as {path}/**/*{below}"
                )
            return _without_copies(found, [file for file in held if file not in found and not _is_bookkeeping(file)])
        if path.exists():
            return [path], []
        matched = sorted(Path(name) for name in glob(str(source), recursive=True))  # noqa: PTH207 - absolute patterns
        found = [file for file in matched if file.is_file()]
        if not found:
            raise DataError(f"no {what} at {source}; name a file, a folder or a glob that exists")
        within = {parent for file in found for parent in file.parents}
        return _without_copies(found, [file for file in matched if file not in found and file not in within])


def _without_copies(found: list[Path], others: list[Path]) -> tuple[list[Path], list[str]]:
    """The files to read, and the names of others, of empty files, and of files that hold what another one holds."""
    kept: list[Path] = []
    left_out = {file: f"{file.name}/" if file.is_dir() else file.name for file in others}
    filled = [file for file in found if file.stat().st_size] or found
    left_out |= {file: f"{file.name} (empty)" for file in found if file not in filled}
    twins: dict[object, list[Path]] = {}
    for file in filled:
        packed = file.suffix.lower() in COMPRESSED_SUFFIXES
        head = next(_contents(file, _named(_magic(file), COMPRESSIONS), HEAD), (b"", 0))[0]
        keys = ((file.stat().st_size, head), file.parent / (file.stem if packed else file.name))
        earlier = dict.fromkeys(one for key in keys for one in twins.get(key, ()))
        original = next((one for one in earlier if _same_content(one, file)), None)
        if original is not None:
            left_out[file] = f"{file.name} (holds the same as {original.name})"
            continue
        kept.append(file)
        for key in keys:
            twins.setdefault(key, []).append(file)
    return kept, [left_out[file] for file in sorted(left_out)]


def same_path(one: Path, other: Path) -> bool:
    """Whether two paths lead to one place, where there may be nothing yet."""
    return os.path.realpath(one) == os.path.realpath(other)


def _same_content(one: Path, other: Path) -> bool:
    """Whether two files are one, or hold the same bytes once decompressed."""
    with data_errors(other):
        if one.samefile(other):
            return True
    first, second = (_contents(path, _named(_magic(path), COMPRESSIONS), BLOCK) for path in (one, other))
    return all(mine[0] == its[0] for mine, its in zip_longest(first, second, fillvalue=(b"", 0)))


def _magic(path: Path) -> bytes:
    with data_errors(path), path.open("rb") as file:
        return file.read(MAGIC)


def _named(magic: bytes, kinds: Mapping[bytes, str]) -> str | None:
    """The kind of file that begins with these bytes."""
    return next((name for start, name in kinds.items() if magic.startswith(start)), None)


def _has_log_name(file: Path) -> bool:
    """Whether a name ends like that of a log, compressed or not."""
    suffixes = [suffix.lower() for suffix in file.suffixes]
    packed = bool(suffixes) and suffixes[-1] in COMPRESSED_SUFFIXES
    suffixes = suffixes[:-1] if packed else suffixes
    return suffixes[-1] in LOG_SUFFIXES if suffixes else packed


def _is_log(file: Path) -> bool:
    return file.is_file() and file.name[0] not in "._" and _has_log_name(file)


def _is_bookkeeping(file: Path) -> bool:
    return file.name[0] in "._" and (file.name.startswith("._") or not _has_log_name(file))


def identify(path: Path) -> LogFile:
    """What a file is, found by its content; a DataError where it cannot be read or is no click log."""
    with data_errors(path):
        if not path.is_file():
            raise DataError(f"{path} is not a regular file; name a file, a folder or a glob")
    magic = _magic(path)
    if foreign := _named(magic, FOREIGN):
        raise DataError(
            f"{path} is {foreign}; give it as CSV in UTF-8, JSONL or Parquet (gzip, bz2, xz, zstd and lz4 are read)"
        )
    size = path.stat().st_size
    if magic.startswith(b"PAR1"):
        return LogFile(path, "parquet", None, size, b"")
    compression = _named(magic, COMPRESSIONS)
    sample, _ = next(_contents(path, compression, SAMPLE), (b"", 0))
    return LogFile(path, _text_format(path, sample), compression, size, sample)


def _text_format(path: Path, sample: bytes) -> Format:
    text = sample.removeprefix(BOM).lstrip()
    if not text:
        return "empty"
    if text.startswith(b"{"):
        return "jsonl"
    if text.startswith(b"["):
        raise DataError(f"{path} holds one JSON array; write one JSON object per line (JSONL) instead")
    first_line = text.splitlines()[0]
    if any(byte < ord(" ") and byte != ord("\t") for byte in first_line):
        raise DataError(
            f"{path} is neither CSV in UTF-8, JSONL nor Parquet: its first line is binary; convert it to one of these"
        )
    try:
        first_line.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: the first line is text in another encoding than UTF-8; convert the file, for example with "
            "iconv -f latin1 -t utf-8"
        ) from error
    return "text"


def _contents(
    path: Path, compression: str | None, size: int, begin: int = 0, end: int | None = None
) -> Iterator[tuple[bytes, int]]:
    """The bytes of a file, decompressed, in blocks of ``size``, and how far in the file itself each has come.

    ``begin`` and ``end``: the range of bytes, in a file that is not compressed; blocks end at multiples of ``size``.
    """
    with data_errors(path), path.open("rb") as file:
        stream: Any = file
        if compression == "xz":
            file.seek(-2, os.SEEK_END)
            if file.read() != b"YZ":  # the decompressor leaves out in silence what follows the last whole stream
                raise EOFError("it does not end as an xz file does")
            file.seek(0)
            stream = lzma.LZMAFile(file)  # noqa: SIM115 - closed with the file
        elif compression:
            stream = BufferedReader(arrow.CompressedInputStream(file, compression))
        if begin:
            file.seek(begin)
        position, last = begin, sys.maxsize if end is None else end
        while block := stream.read(size if compression else min(size - position % size, last - position)):
            position = file.tell()
            yield block, position


def blocks(
    file: LogFile, size: int = BLOCK, begin: int = 0, end: int | None = None, *, universal_newlines: bool = True
) -> Iterator[tuple[bytes, int]]:
    """A text file in blocks of whole lines, about ``size`` bytes each, and the bytes of the file they took.

    ``begin`` and ``end``: the same blocks, from the line with byte ``begin`` to before the line with byte ``end``.
    ``universal_newlines``: a carriage return ends lines too. `DataError` if the file became shorter.
    """
    rest = b""
    done = position = _line_begin(file.path, begin, universal_newlines=universal_newlines)
    for block, position in _contents(file.path, file.compression, size, done, end):
        text = rest + (block if done or rest else block.removeprefix(BOM))
        last = _last_end(text, universal_newlines=universal_newlines)
        if last:
            yield text[:last], position - done
            done = position
        rest = text[last:]
        if len(rest) > LONGEST_ROW:
            raise DataError(f"{file.path}: a line is longer than {LONGEST_ROW >> 20} MiB; write one event per line")
    if end is None and not file.compression and position < file.size:
        raise DataError(CHANGED.format(file.path))
    if rest and end is None:
        yield rest, position - done


def _last_end(text: bytes, *, universal_newlines: bool) -> int:
    """Bytes of the complete lines of a text; a carriage return in its last byte may begin a CRLF, and ends none."""
    return max(text.rfind(b"\n"), text.rfind(b"\r", 0, -1) if universal_newlines else -1) + 1


def _line_begin(path: Path, at: int, *, universal_newlines: bool) -> int:
    """Position of the first byte of the line that contains byte ``at`` of a file; lines end as in `_last_end`."""
    begin, size = at, SAMPLE
    with data_errors(path), path.open("rb") as file:
        while begin > 0 and at - begin <= LONGEST_ROW:
            begin = max(0, at - size)
            file.seek(begin)
            if found := _last_end(file.read(at - begin), universal_newlines=universal_newlines):
                return begin + found
            size *= 2
    return begin


@contextmanager
def data_errors(path: Path) -> Generator[None]:
    """Turns what the system and the file libraries raise while a file is read into one line about that file."""
    try:
        yield
    except NearnextError:
        raise
    except PermissionError as error:
        raise DataError(f"cannot read {path}: permission denied; allow reading it or name another file") from error
    except (OSError, ValueError, EOFError, lzma.LZMAError, arrow.ArrowException, PolarsError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise DataError(f"cannot read {path}: {reason}; check that the file is complete") from error
