"""Byte level of a torch checkpoint file: its pickle and the storages its tensors point to.

Two formats: a zip archive of uncompressed records (torch 1.6 and later), and pickles followed by
raw storages (before). Layout as in `torch.serialization`; bytes are read in place, nothing is
unpacked or mapped.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import torch

from yolo_stability.checkpoint.pickle_objects import Global, Unreadable
from yolo_stability.checkpoint.pickle_reader import Call, read_pickle

__all__ = ["DTYPES", "Archive", "Storage", "open_archive"]

DTYPES: Mapping[str, torch.dtype] = {
    name: getattr(torch, name)
    for name in (
        *("float64", "float32", "float16", "bfloat16", "complex32", "complex64", "complex128"),
        *("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool"),
        *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"),
    )
    if hasattr(torch, name)
}
"""Element types by the name under which torch writes them; no other torch attribute is accessed."""
_STORAGES: Mapping[str, torch.dtype] = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "UntypedStorage": torch.uint8,
}
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_MAX_PICKLE_BYTES = 256 * 2**20
_MAX_LEGACY_BYTES = 4 * 2**30
_MAX_NUMBER = 2**48
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, then the lengths of name and extra field
# sizes of the directory's end records
_END, _END64, _LOCATOR64_BYTES = struct.Struct("<12xI6x"), struct.Struct("<40xQ8x"), 20
_ELSEWHERE = 2**32 - 1  # the length is in the 64-bit record
_MAX_DIRECTORY_BYTES = 32 * 2**20  # 300,000 records; a checkpoint of YOLO26n has 2,400
_PASSWORD, _SIGNATURE = 1, b"PK\x03\x04"
_PARTIAL = "it is truncated (a copy, a download or a save was interrupted)"
_FOREIGN = "it was not written by torch.save"


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """One contiguous range of bytes in the file.

    Attributes:
        key: Name in the archive.
        dtype: Type of the elements.
        numel: Declared number of elements.
    """

    key: str
    dtype: torch.dtype
    numel: int

    @property
    def nbytes(self) -> int:
        """Size of the declared elements in bytes."""
        return self.numel * self.dtype.itemsize


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """An opened checkpoint.

    Attributes:
        content: Content of its pickle.
        places: Offset and length in bytes of each storage in the stream.
        stream: The open file.
    """

    content: Any
    places: Mapping[str, tuple[int, int]]
    stream: BinaryIO

    def check(self, storage: Storage) -> None:
        """Raise Unreadable if a storage is missing or shorter than declared."""
        if storage.key not in self.places:
            raise Unreadable(f"its record {storage.key[:40]!r} is missing")
        if storage.nbytes > self.places[storage.key][1]:
            raise Unreadable(
                f"its record {storage.key[:40]!r} has {self.places[storage.key][1]:,} bytes "
                f"instead of the declared {storage.nbytes:,}"
            )

    def read(self, storage: Storage, first: int, length: int) -> bytearray:
        """Read bytes of a checked storage; many tensors may share a large one."""
        self.stream.seek(self.places[storage.key][0] + first)
        content = bytearray(self.stream.read(length))
        if len(content) < length:
            raise Unreadable(_PARTIAL)
        return content


def open_archive(stream: BinaryIO, calls: Callable[[], Mapping[str, Call]]) -> Archive:
    """Read the pickle of a checkpoint and locate its storages.

    Args:
        stream: The open file.
        calls: Returns the functions that rebuild tensors, as `read_pickle` takes them.

    Raises:
        Unreadable: Not a torch checkpoint, or a damaged one.
    """
    start = stream.read(4)
    stream.seek(0)
    if start == _SIGNATURE:
        return _open_zip(stream, calls())
    if start[:1] == b"\x80":
        return _open_legacy(stream, calls())
    raise Unreadable(_FOREIGN if start else "it is empty")


# --- zip ---


def _open_zip(stream: BinaryIO, calls: Mapping[str, Call]) -> Archive:
    """Open the format of torch 1.6 and later."""
    records = _records(stream)
    pickles = [name for name in records if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise Unreadable(_FOREIGN)
    root = pickles[0].removesuffix("data.pkl")
    places = {name: _place(stream, info) for name, info in records.items()}
    order = _bytes_at(stream, places.get(f"{root}byteorder", (0, 0)), 16)
    if order not in {b"", b"little"}:
        raise Unreadable("it was written on a big-endian machine, which is not supported")
    content = read_pickle(
        io.BytesIO(_bytes_at(stream, places[pickles[0]], _MAX_PICKLE_BYTES)), calls, _storage
    )
    prefix = f"{root}data/"
    inside = {
        name.removeprefix(prefix): place
        for name, place in places.items()
        if name.startswith(prefix)
    }
    return Archive(content=content, places=inside, stream=stream)


def _records(stream: BinaryIO) -> dict[str, zipfile.ZipInfo]:
    """Read the directory of the archive; torch writes no compressed or duplicate records."""
    size = stream.seek(0, io.SEEK_END)
    if _directory_bytes(stream, size) > _MAX_DIRECTORY_BYTES:
        raise Unreadable("the directory of its archive lists more records than a checkpoint has")
    try:
        with zipfile.ZipFile(stream) as archive:
            infos = archive.infolist()
    except (
        zipfile.BadZipFile,
        ValueError,
        OverflowError,
        NotImplementedError,
        struct.error,
        OSError,
    ) as error:
        raise Unreadable(_PARTIAL) from error
    records = {info.filename: info for info in infos}
    odd = any(i.compress_type != zipfile.ZIP_STORED or i.flag_bits & _PASSWORD for i in infos)
    if odd or len(records) < len(infos):
        raise Unreadable(
            "it has compressed, encrypted or duplicate records, which torch.save never writes"
        )
    if sum(info.file_size for info in infos) > size:
        raise Unreadable("its records overlap or declare more bytes than the file has")
    return records


def _directory_bytes(stream: BinaryIO, size: int) -> int:
    """Return the declared length of the directory, all of which `zipfile` would read."""
    start = max(0, size - _END.size - _END64.size - _LOCATOR64_BYTES - 2**16)
    stream.seek(start)
    tail = stream.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or end + _END.size > len(tail):
        return 0  # zipfile reports what is wrong
    lengths = [*_END.unpack_from(tail, end)]
    end64 = end - _LOCATOR64_BYTES - _END64.size
    if end64 >= 0 and tail[end64 : end64 + 4] == b"PK\x06\x06":
        lengths += _END64.unpack_from(tail, end64)
    return max((length for length in lengths if length != _ELSEWHERE), default=0)


def _place(stream: BinaryIO, info: zipfile.ZipInfo) -> tuple[int, int]:
    """Return offset and length of the bytes of a record."""
    stream.seek(max(0, info.header_offset))
    header = stream.read(_LOCAL_HEADER.size)
    if len(header) < _LOCAL_HEADER.size or not header.startswith(_SIGNATURE):
        raise Unreadable("the directory of its archive points to the wrong place")
    _, name, extra = _LOCAL_HEADER.unpack(header)
    return info.header_offset + _LOCAL_HEADER.size + name + extra, info.file_size


def _bytes_at(stream: BinaryIO, place: tuple[int, int], most: int) -> bytes:
    """Read a record."""
    offset, length = place
    if length > most:
        raise Unreadable(
            f"one of its records has {length:,} bytes where at most {most:,} are expected"
        )
    stream.seek(offset)
    return stream.read(length)


# --- before torch 1.6 ---


def _open_legacy(stream: BinaryIO, calls: Mapping[str, Call]) -> Archive:
    """Open the format before torch 1.6: four pickles, keys, then length and bytes per storage."""
    size = stream.seek(0, io.SEEK_END)
    if size > _MAX_LEGACY_BYTES:
        raise Unreadable(
            f"it is in the format before torch 1.6 and larger than {_MAX_LEGACY_BYTES:,} bytes"
        )
    stream.seek(0)
    memory = io.BytesIO(stream.read(size))
    if read_pickle(memory, {}, _storage) != _LEGACY_MAGIC:
        raise Unreadable(_FOREIGN)
    seen: dict[str, Storage] = {}

    def remember(identity: tuple[Any, ...]) -> Any:
        storage = _storage(identity)
        if isinstance(storage, Storage):
            seen.setdefault(storage.key, storage)
        return storage

    for _ in ("version of the protocol", "sizes of the system's types"):
        read_pickle(memory, {}, _storage)
    content = read_pickle(memory, calls, remember)
    keys = read_pickle(memory, {}, _storage)
    places: dict[str, tuple[int, int]] = {}
    for key in keys if isinstance(keys, list) else ():
        if not isinstance(key, str) or key not in seen or key in places:
            raise Unreadable("its list of storages is damaged")
        length = int.from_bytes(memory.read(8), "little") * seen[key].dtype.itemsize
        offset = memory.tell()
        if offset + length > size:
            raise Unreadable(_PARTIAL)
        places[key] = (offset, length)
        memory.seek(offset + length)
    return Archive(content=content, places=places, stream=memory)


def _storage(identity: tuple[Any, ...]) -> Storage | Global:
    """Return what a persistent id refers to.

    It is `("storage", type, key, device, numel)`, or `("module", class, ...)` with its source code.
    """
    match identity:
        case (
            "module",
            Global() as kind,
            *_,
        ):
            # before torch 1.6; the source is only for people to compare
            return kind
        case ("storage", Global(name=name), str() as key, _, int() as numel, *rest):
            kind_name = name.removeprefix("torch.").removeprefix("storage.")
            known = kind_name in _STORAGES and 0 <= numel <= _MAX_NUMBER
            if known and all(view is None for view in rest):
                return Storage(key=key, dtype=_STORAGES[kind_name], numel=numel)
    raise Unreadable("it refers to a storage in a way that torch never writes")
