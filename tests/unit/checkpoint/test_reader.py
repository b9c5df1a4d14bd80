"""The checkpoint reader against `torch.load`; hostile and damaged files."""

from __future__ import annotations

import io
import os
import pickle
import struct
import warnings
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from yolo_stability.checkpoint import archive as archive_module
from yolo_stability.checkpoint import reader as checkpoint_module
from yolo_stability.checkpoint.audit import audit_checkpoint
from yolo_stability.checkpoint.reader import CheckpointError, open_checkpoint


class Block(nn.Module):
    """A convolution with its normalization."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        self.act = nn.SiLU()
        self.register_buffer("shift", torch.arange(4).view(2, 2).t())


class Head(nn.Module):
    """A head with two branches, and a layer that is absent."""

    def __init__(self) -> None:
        super().__init__()
        self.cv2 = nn.ModuleList([nn.Linear(4, 2)])
        self.cv3 = nn.Sequential(nn.Conv2d(4, 3, 1))
        self.scale = nn.Parameter(torch.tensor(2.5))
        self.register_parameter("absent", None)
        self.plain = torch.full((3,), float("nan"))  # an attribute, which no state dict has


class Net(nn.Module):
    """A model whose layers are a list, as YOLO's are."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(Block(4), Block(4), Head())
        self.args = SimpleNamespace(task="detect")
        self.names = {0: "circle"}


@cache
def trained() -> dict[str, Any]:
    """Return what a trainer saves: EMA in half precision, optimizer state, plain facts."""
    torch.manual_seed(0)
    net = Net()
    optimizer = torch.optim.AdamW(net.parameters())
    net.model[0].bn(net.model[0].conv(torch.randn(2, 3, 8, 8))).square().mean().backward()
    optimizer.step()
    return {
        "epoch": 3,
        "model": None,
        "ema": net.half(),
        "updates": 12,
        "optimizer": optimizer.state_dict(),
        "scaler": {"scale": 1024.0, "growth_factor": 2.0},
        "train_args": {"task": "detect", "lr0": 0.01, "amp": False, "freeze": None},
        "train_metrics": {"fitness": 0.5},
        "date": "2026-01-01T00:00:00",
        "version": "8.4.190",
    }


def saved(content: Any, folder: Path, **options: Any) -> Path:
    """Save a checkpoint."""
    path = folder / "c.pt"
    torch.save(content, path, **options)
    return path


def read(path: Path) -> dict[tuple[str, str], Tensor]:
    """Read all tensors by part and name, repeated axes once."""
    with open_checkpoint(path) as opened:
        return {(named.part, named.name): opened.values(named.tensor) for named in opened.tensors}


def same(ours: Mapping[Any, Tensor], reference: Mapping[Any, Tensor]) -> bool:
    """Return whether names and tensors are equal, bit by bit."""
    return list(ours) == list(reference) and all(
        a.dtype == b.dtype and a.shape == b.shape and raw(a) == raw(b)
        for a, b in zip(ours.values(), reference.values(), strict=True)
    )


def raw(tensor: Tensor) -> bytes:
    """Return the bytes of a tensor."""
    return (
        bytes(tensor.detach().contiguous().flatten().view(torch.uint8).numpy())
        if tensor.numel()
        else b""
    )


def reference(path: Path) -> dict[tuple[str, str], Tensor]:
    """Read all tensors with torch, which executes the file's content: for trusted files only."""
    loaded = torch.load(path, weights_only=False)
    found = {("ema", name): tensor for name, tensor in loaded["ema"].state_dict().items()}
    for number, slots in loaded["optimizer"]["state"].items():
        found |= {
            ("optimizer", f"state.{number}.{k}"): v
            for k, v in slots.items()
            if isinstance(v, Tensor)
        }
    return found


FORMATS = [
    {},
    *({"pickle_protocol": protocol} for protocol in (3, 4, 5)),
    {"_use_new_zipfile_serialization": False},
    {"_use_new_zipfile_serialization": False, "pickle_protocol": 4},
]


@pytest.mark.parametrize("options", FORMATS, ids=str)
def test_every_tensor_is_read_as_torch_reads_it(options: dict[str, Any], tmp_path: Path) -> None:
    path = saved(trained(), tmp_path, **options)
    ours, theirs = read(path), reference(path)
    assert len(theirs) == 19 + 3 * 3
    assert same(dict(sorted(ours.items())), dict(sorted(theirs.items())))


def test_names_blocks_and_facts(tmp_path: Path) -> None:
    with open_checkpoint(saved(trained(), tmp_path)) as opened:
        places = {
            named.name: (named.block, named.module)
            for named in opened.tensors
            if named.part == "ema"
        }
        facts = dict(opened.facts)
        assert opened.unread == 0
    assert places["model.0.bn.running_var"] == ("model.0 Block", "BatchNorm2d")
    assert places["model.2.cv2.0.weight"] == ("model.2.cv2 Head", "Linear")
    assert places["model.2.scale"] == ("model.2 Head", "Head")
    assert facts == {
        "epoch": 3,
        "updates": 12,
        "scaler": {"scale": 1024.0, "growth_factor": 2.0},
        "train_args": {"task": "detect", "lr0": 0.01, "amp": False},
        "train_metrics": {"fitness": 0.5},
        "date": "2026-01-01T00:00:00",
        "version": "8.4.190",
        "model_class": "Net",
    }


@pytest.mark.parametrize("kind", ["state dict", "state dict below a key", "module"])
def test_other_checkpoints_are_read(kind: str, tmp_path: Path) -> None:
    net = Net()
    content = {
        "state dict": net.state_dict(),
        "state dict below a key": {"model": net.state_dict()},
        "module": net,
    }
    path = saved(content[kind], tmp_path)
    part = "model" if kind.endswith("key") else ""
    assert same(read(path), {(part, name): tensor for name, tensor in net.state_dict().items()})
    with open_checkpoint(path) as opened:
        block = {named.name: named.block for named in opened.tensors}["model.0.conv.weight"]
    assert block == ("model.0 Block" if kind == "module" else "model.0")


TYPES = [
    *("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "complex64", "complex128"),
    *("int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "bool"),
]


@pytest.mark.parametrize("name", TYPES)
def test_every_element_type_is_read(name: str, tmp_path: Path) -> None:
    tensor = torch.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]).to(getattr(torch, name))
    path = saved({"t": tensor, "turned": tensor.t(), "part": tensor[1, 1:]}, tmp_path)
    theirs = torch.load(path, weights_only=False)
    assert same(read(path), {("", key): value for key, value in theirs.items()})


def test_views_scalars_and_empty_tensors_are_read(tmp_path: Path) -> None:
    base = torch.randn(6, 5)
    content = {
        "base": base,
        "column": base[:, 2],
        "every other": base[::2, 1::2],
        "scalar": torch.tensor(3.5),
        "empty": torch.empty(0),
        "hollow": torch.empty(0, 4),
        "parameter": nn.Parameter(base[0].clone()),
        "many axes": torch.randn(1, 2, 1, 3, 1, 2),
    }
    path = saved(content, tmp_path)
    theirs = torch.load(path, weights_only=False)
    ours = read(path)
    assert ours.pop(("", "hollow")).numel() == theirs.pop("hollow").numel() == 0
    assert same(ours, {("", key): value for key, value in theirs.items()})


def test_an_axis_that_repeats_itself_is_read_once(tmp_path: Path) -> None:
    path = saved({"t": torch.tensor([[1.0], [2.0]]).expand(2, 10**12)}, tmp_path)
    assert read(path)["", "t"].tolist() == [[1.0], [2.0]]


def test_a_tensor_of_a_kind_that_is_not_read_is_counted(tmp_path: Path) -> None:
    path = saved({"sparse": torch.eye(3).to_sparse(), "dense": torch.ones(3)}, tmp_path)
    with open_checkpoint(path) as opened:
        assert opened.unread == 1
        assert "dense" in {named.name for named in opened.tensors}


def one_sentence(path: Path) -> str:
    """Audit a file; return the CheckpointError's reason, or an empty text."""
    try:
        audit_checkpoint(path)
    except CheckpointError as error:
        text = str(error)
    else:
        return ""
    start, end = (
        f"{path} cannot be audited: ",
        "; name another checkpoint, or save this one again with torch.save.",
    )
    assert text.startswith(start)
    assert text.endswith(end)
    reason = text.removeprefix(start).removesuffix(end)
    assert "\n" not in reason
    return reason


# --- hostile files --------------------------------------------------------------------------------


with warnings.catch_warnings(action="ignore"):
    STORAGE = torch.zeros(1).storage()
REFUSED = "it describes a tensor in a way that torch never writes"


class Payload:
    """Runs a function when it is unpickled."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call[0], tuple(self.call[1:])


def payloads(marker: Path) -> dict[str, Any]:
    """Return objects that write a file when torch loads them."""
    code = f"__import__('pathlib').Path({str(marker)!r}).touch()"
    inner = io.BytesIO()
    torch.save(Payload(eval, code), inner, _use_new_zipfile_serialization=False)
    run = Payload(eval, code)
    return {
        "alone": run,
        "in a model": {"ema": run, "epoch": 1},
        "beside a model": {**trained(), "git": run},
        "as a storage": Payload(torch._utils._rebuild_tensor_v2, run, 0, (1,), (1,), False, run),
        "as a size": {
            "t": Payload(torch._utils._rebuild_tensor_v2, STORAGE, 0, run, (1,), False, {})
        },
        "a storage in bytes": Payload(torch.storage._load_from_bytes, inner.getvalue()),
        "as a parameter": Payload(torch._utils._rebuild_parameter, run, False, {}),
        "as a type": Payload(torch._tensor._rebuild_from_type_v2, eval, int, (code,), {}),
    }


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", sorted(payloads(Path(os.devnull))))
def test_a_checkpoint_that_would_run_code_does_not(name: str, legacy: bool, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    path = saved(payloads(marker)[name], tmp_path, _use_new_zipfile_serialization=not legacy)
    before = sorted(tmp_path.iterdir())
    assert one_sentence(path) in {"", REFUSED}
    assert sorted(tmp_path.iterdir()) == before
    try:
        torch.load(path, weights_only=False)  # the control: elsewhere it runs
    except (TypeError, AttributeError, RuntimeError, EOFError):
        assert marker.exists()
    assert marker.exists()


@pytest.mark.parametrize("wrap", ["list", "tuple"])
def test_a_persistent_id_made_by_a_call_is_refused(wrap: str, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    code = f"open({str(marker)!r}, 'w')".encode()
    call = b"c__builtin__\neval\n(V" + code + b"\ntR"
    identity = b"(" + call + (b"l" if wrap == "list" else b"t") + b"Q."
    path = rebuilt(saved({"t": torch.ones(2)}, tmp_path), {"data.pkl": b"\x80\x02" + identity})
    with pytest.raises(CheckpointError, match="refers to a storage in a way"):
        audit_checkpoint(path)
    assert not marker.exists()


def rebuilt(path: Path, records: Mapping[str, bytes], **options: Any) -> Path:
    """Write an archive again with some records replaced or added."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    root = next(iter(content)).split("/")[0]
    content |= {f"{root}/{name}": data for name, data in records.items()}
    target = path.with_name("rebuilt.pt")
    with zipfile.ZipFile(target, "w", **options) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return target


def crafted(
    folder: Path,
    *,
    offset: Any = 0,
    shape: Any = (2,),
    stride: Any = (1,),
    numel: Any = 4,
    key: Any = "0",
) -> Path:
    """Write a checkpoint of one float32 tensor in a record of 16 bytes, with any numbers."""

    storage = object()

    class Writer(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            return ("storage", torch.FloatStorage, key, "cpu", numel) if value is storage else None

    stream = io.BytesIO()
    tensor = Payload(torch._utils._rebuild_tensor_v2, storage, offset, shape, stride, False, {})
    Writer(stream, 2).dump({"t": tensor})
    return rebuilt(saved({"t": torch.arange(4.0)}, folder), {"data.pkl": stream.getvalue()})


def test_a_crafted_checkpoint_is_read_when_its_numbers_are_right(tmp_path: Path) -> None:
    assert read(crafted(tmp_path, offset=1, shape=(2,), stride=(2,)))["", "t"].tolist() == [
        1.0,
        3.0,
    ]


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"numel": 5}, "has 16 bytes instead of the declared 20"),
        ({"numel": 2**60}, "in a way that torch never writes"),
        ({"numel": -1}, "in a way that torch never writes"),
        ({"numel": 1.0}, "in a way that torch never writes"),
        ({"key": "7"}, "record '7' is missing"),
        ({"key": "../../secret"}, "is missing"),
        ({"key": "\x1b[2J"}, r"record '\\x1b\[2J' is missing"),
        ({"key": 0}, "in a way that torch never writes"),
        ({"shape": (5,)}, "tensor of 5 elements does not fit into its record of 4"),
        ({"offset": 3}, "does not fit"),
        ({"offset": -1}, "in a way that torch never writes"),
        ({"stride": (-1,), "offset": 3}, "in a way that torch never writes"),
        ({"stride": (2**62,)}, "does not fit"),
        ({"shape": (2**40, 2**40), "stride": (0, 0), "offset": 4}, "does not fit"),
        ({"shape": (2, 2, 2), "stride": (1, 1, 1)}, "tensor of 2x2x2 elements does not fit"),
        ({"shape": (2,), "stride": (1, 1)}, "in a way that torch never writes"),
        ({"shape": (1,) * 65, "stride": (1,) * 65}, "in a way that torch never writes"),
        ({"shape": ("2",)}, "in a way that torch never writes"),
        ({"shape": None}, "in a way that torch never writes"),
    ],
    ids=str,
)
def test_numbers_that_do_not_fit_are_refused(
    numbers: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=message):
        audit_checkpoint(crafted(tmp_path, **numbers))


def test_a_module_that_contains_itself_or_doubles_itself_is_refused(tmp_path: Path) -> None:
    net = nn.Module()
    net._modules["again"] = net
    with pytest.raises(CheckpointError, match="nested more than"):
        audit_checkpoint(saved({"model": net}, tmp_path))
    twice: Any = {"t": torch.ones(1)}
    for _ in range(60):
        twice = [twice, twice]
    with pytest.raises(CheckpointError, match="objects"):
        audit_checkpoint(saved(twice, tmp_path))


# --- files that are none --------------------------------------------------------------------------


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_cut_anywhere_is_refused_in_one_sentence(legacy: bool, tmp_path: Path) -> None:
    content = saved(trained(), tmp_path, _use_new_zipfile_serialization=not legacy).read_bytes()
    path = tmp_path / "cut.pt"
    for length in {0, 1, 2, 5, 60, 1000, *range(2000, len(content), 701), len(content) - 1}:
        path.write_bytes(content[:length])
        assert one_sentence(path).startswith("it")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"epoch,loss\n1,2\n", "not written by torch.save"),
        (b"\x89PNG\r\n\x1a\n", "not written by torch.save"),
        (pickle.dumps({"a": 1}, 2), "not written by torch.save"),
        (b"PK\x03\x04" + b"\0" * 100, "is truncated"),
    ],
)
def test_a_file_of_another_kind_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        audit_checkpoint(path)


def test_a_zip_that_torch_did_not_write_is_refused(tmp_path: Path) -> None:
    path = saved({"t": torch.ones(2)}, tmp_path)
    with pytest.raises(CheckpointError, match="compressed"):
        audit_checkpoint(rebuilt(path, {}, compression=zipfile.ZIP_DEFLATED))
    other = tmp_path / "other.pt"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("readme.txt", "x")
    with pytest.raises(CheckpointError, match="not written by torch"):
        audit_checkpoint(other)
    with pytest.raises(CheckpointError, match="big-endian"):
        audit_checkpoint(rebuilt(path, {"byteorder": b"big"}))


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    """A record that declares more bytes than the file has, and many that share the same bytes."""
    path = rebuilt(saved({"t": torch.ones(2)}, tmp_path), {})
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        place = archive.start_dir
    struct.pack_into("<II", content, place + 20, 2**31, 2**31)
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"more bytes than the file has|damaged|is truncated"):
        audit_checkpoint(path)


@pytest.mark.parametrize(
    "records", [100, 70_000]
)  # from 65,536 on zipfile writes the 64-bit record
def test_a_directory_without_end_is_refused(
    records: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "many.pt"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(records):
            archive.writestr(str(number), b"")
        archive.comment = b"a comment"
    length = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        directory = sum(46 + len(info.filename) for info in archive.infolist())
    assert directory < length
    monkeypatch.setattr(archive_module, "_MAX_DIRECTORY_BYTES", directory)
    assert "torch.save" in one_sentence(path)
    assert "lists more" not in one_sentence(path)
    monkeypatch.setattr(archive_module, "_MAX_DIRECTORY_BYTES", directory - 1)
    assert "lists more records" in one_sentence(path)


def test_paths_that_are_no_file_are_named(tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link.pt"
    os.mkfifo(pipe)
    link.symlink_to(tmp_path / "gone.pt")
    for path in (tmp_path, tmp_path / "gone.pt", link, pipe, Path(os.devnull), Path("a\0b")):
        with pytest.raises(CheckpointError, match=r"name a checkpoint, such as weights/last\.pt"):
            audit_checkpoint(path)


def test_a_link_to_a_checkpoint_is_followed(tmp_path: Path) -> None:
    link = tmp_path / "link.pt"
    link.symlink_to(saved({"t": torch.ones(2)}, tmp_path))
    assert read(link)["", "t"].tolist() == [1.0, 1.0]


def test_a_file_that_shrinks_while_it_is_read_is_named(tmp_path: Path) -> None:
    path = saved({"t": torch.ones(10_000)}, tmp_path)
    with open_checkpoint(path) as opened:
        os.truncate(path, 1000)
        with pytest.raises(CheckpointError, match="is truncated"):
            opened.values(opened.tensors[0].tensor)


# --- anything at all ------------------------------------------------------------------------------


@cache
def content(legacy: bool) -> bytes:
    """Return the bytes of a trained checkpoint."""
    stream = io.BytesIO()
    torch.save(trained(), stream, _use_new_zipfile_serialization=not legacy)
    return stream.getvalue()


EDITS = st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), min_size=1, max_size=8)
UNHURRIED = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.mark.parametrize("legacy", [False, True])
@UNHURRIED
@given(edits=EDITS, cut=st.none() | st.integers(0, 2**16))
def test_a_mutated_checkpoint_raises_nothing_else(
    legacy: bool, edits: list[tuple[int, int]], cut: int | None, tmp_path: Path
) -> None:
    changed = bytearray(content(legacy))
    for place, value in edits:
        changed[place % len(changed)] = value
    path = tmp_path / "c.pt"
    path.write_bytes(changed[: cut and cut % len(changed)])
    one_sentence(path)


@UNHURRIED
@given(edits=EDITS)
def test_a_mutated_pickle_raises_nothing_else(edits: list[tuple[int, int]], tmp_path: Path) -> None:
    """The archive is valid, so that every change reaches the pickle reader and the traversal."""
    original = tmp_path / "original.pt"
    if not original.exists():
        original.write_bytes(content(False))
    with zipfile.ZipFile(original) as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        changed = bytearray(archive.read(name))
    for place, value in edits:
        changed[place % len(changed)] = value
    one_sentence(rebuilt(original, {"data.pkl": bytes(changed)}))


@UNHURRIED
@given(content=st.binary(max_size=400), start=st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02"]))
def test_random_bytes_raise_nothing_else(content: bytes, start: bytes, tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    path.write_bytes(start + content)
    with pytest.raises(CheckpointError):
        audit_checkpoint(path)


def test_the_walk_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(checkpoint_module, "_MAX_VISITS", 10)
    assert len(read(saved({"model": [torch.ones(1)] * 10}, tmp_path))) == 10
    with pytest.raises(CheckpointError, match="more than 10 objects"):
        audit_checkpoint(saved({"model": [{str(i): torch.ones(1) for i in range(11)}]}, tmp_path))
