"""Which files a log consists of, what each is by its content, and its bytes, decompressed on the way."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from polars.exceptions import PolarsError

from nearnext.data.arrow import arrow
from nearnext.errors import DataError, NearnextError

__all__ = ["ByteSource", "Format", "LogFile", "data_errors", "identify", "log_files"]

Format = Literal["text", "jsonl", "parquet", "empty"]

SAMPLE = 1 << 20
LOG_SUFFIXES = {".csv", ".tsv", ".txt", ".dat", ".psv", ".jsonl", ".ndjson", ".json", ".parquet", ".pq"}
COMPRESSED_SUFFIXES = {".gz", ".bz2", ".zst", ".zstd"}
COMPRESSIONS = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd"}
FOREIGN = {
    b"PK\x03\x04": "a ZIP archive or a spreadsheet",
    b"7z\xbc\xaf": "a 7z archive",
    b"\xfd7zXZ": "an xz archive",
    b"\x04\x22\x4d\x18": "an lz4 archive",
    b"ARROW1": "an Arrow or Feather file",
    b"Obj\x01": "an Avro file",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}


@dataclass(frozen=True)
class LogFile:
    """One file of a log: where it is, what it is, how it is compressed, its size in bytes, how its text begins."""

    path: Path
    format: Format
    compression: str | None
    size: int
    sample: bytes


def log_files(source: str | Path, leave_out: Path | None = None) -> list[Path]:
    """The files of a log, sorted by name: one file, the log files of a folder, or what a glob matches.

    Raises:
        DataError: nothing is there.

    >>> log_files("no-such-file.csv")
    Traceback (most recent call last):
    nearnext.errors.DataError: no log at no-such-file.csv; name a file, a folder or a glob that exists
    """
    path = Path(source)
    skipped = leave_out.resolve() if leave_out else None
    with data_errors(path):
        if path.is_dir():
            found = sorted(file for file in path.iterdir() if _is_log(file) and file.resolve() != skipped)
            if not found:
                raise DataError(
                    f"no log files directly in folder {path}; expected names that end in "
                    f"{', '.join(sorted(LOG_SUFFIXES))}; name a file or a glob such as {path}/**/*.csv"
                )
            return found
        if path.exists():
            return [path]
        found = sorted(Path(name) for name in glob(str(source), recursive=True) if Path(name).is_file())  # noqa: PTH207 - absolute patterns
    if not found:
        raise DataError(f"no log at {source}; name a file, a folder or a glob that exists")
    return found


def _is_log(file: Path) -> bool:
    suffixes = [suffix.lower() for suffix in file.suffixes]
    if suffixes and suffixes[-1] in COMPRESSED_SUFFIXES:
        suffixes.pop()
    return file.is_file() and file.name[0] not in "._" and bool(suffixes) and suffixes[-1] in LOG_SUFFIXES


def identify(path: Path) -> LogFile:
    """What a file is, told by its content, whatever its name says.

    Raises:
        DataError: the file cannot be read, or is of a kind that is no click log.
    """
    with data_errors(path):
        if not path.is_file():
            raise DataError(f"{path} is not a regular file; name a file, a folder or a glob")
        with path.open("rb") as file:
            magic = file.read(6)
    compression = next((name for start, name in COMPRESSIONS.items() if magic.startswith(start)), None)
    foreign = next((name for start, name in FOREIGN.items() if magic.startswith(start)), None)
    if foreign:
        raise DataError(f"{path} is {foreign}; give it as CSV in UTF-8, JSONL or Parquet (gzip, bz2 and zstd are read)")
    size = path.stat().st_size
    if magic.startswith(b"PAR1"):
        return LogFile(path, "parquet", None, size, b"")
    with ByteSource(path, compression) as source:
        sample = source.read(SAMPLE)
    return LogFile(path, _text_format(path, sample), compression, size, sample)


def _text_format(path: Path, sample: bytes) -> Format:
    text = sample.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text:
        return "empty"
    if text.startswith(b"{"):
        return "jsonl"
    if text.startswith(b"["):
        raise DataError(f"{path} holds one JSON array; write one JSON object per line (JSONL) instead")
    first_line = text.splitlines()[0]
    try:
        readable = not any(ord(letter) < ord(" ") and letter != "\t" for letter in first_line.decode())
    except UnicodeDecodeError:
        readable = False
    if not readable:
        raise DataError(
            f"{path} is neither CSV in UTF-8, JSONL nor Parquet: its first line is binary; convert it to one of these"
        )
    return "text"


class ByteSource:
    """The bytes of a file, decompressed; knows how far it has come in the file itself."""

    def __init__(self, path: Path, compression: str | None) -> None:
        self.path = path
        with data_errors(path):
            self._file: Any = arrow.OSFile(str(path), "rb")
            self._stream: Any = arrow.CompressedInputStream(self._file, compression) if compression else self._file

    def __enter__(self) -> "ByteSource":
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._stream.close()

    @property
    def position(self) -> int:
        """Bytes of the file that have been taken, compressed ones where it is compressed."""
        return int(self._file.tell())

    def read(self, size: int) -> bytes:
        """The next ``size`` bytes; fewer only at the end.

        Raises:
            DataError: the file cannot be read on, for example because its compression is cut off.
        """
        parts: list[bytes] = []
        with data_errors(self.path):
            while size > 0 and (part := self._stream.read(size)):
                parts.append(part)
                size -= len(part)
        return b"".join(parts)


@contextmanager
def data_errors(path: Path) -> Generator[None]:
    """Turns what the system and the file libraries raise while a file is read into one line about that file."""
    try:
        yield
    except NearnextError:
        raise
    except PermissionError as error:
        raise DataError(f"cannot read {path}: permission denied; allow reading it or name another file") from error
    except (OSError, ValueError, arrow.ArrowException, PolarsError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise DataError(f"cannot read {path}: {reason}; check that the file is complete") from error
