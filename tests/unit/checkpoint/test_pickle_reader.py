"""The pickle reader: values as pickle reads them, and nothing in a file is executed."""

from __future__ import annotations

import collections
import copyreg
import io
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolo_stability.checkpoint import pickle_reader as inert
from yolo_stability.checkpoint.pickle_objects import Global, Record, Unreadable
from yolo_stability.checkpoint.pickle_reader import read_pickle


def refuse(identity: tuple[Any, ...]) -> Any:
    """Resolve no persistent id."""
    raise Unreadable(f"id {identity!r}")


def read(content: bytes) -> Any:
    """Read a pickle with no function that it could call."""
    return read_pickle(io.BytesIO(content), {}, refuse)


# --- plain values ---------------------------------------------------------------------------------

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**200), 2**200)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
)
KEYS = st.text() | st.integers(-5, 5)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=4)
    ),
    max_leaves=25,
)


@given(
    PLAIN, st.integers(3, pickle.HIGHEST_PROTOCOL)
)  # protocol 2 writes bytes as a call of a codec
def test_plain_values_come_out_as_pickle_reads_them(value: Any, protocol: int) -> None:
    content = pickle.dumps(value, protocol)
    ours = read(content)
    assert ours == pickle.loads(content)
    assert repr(ours) == repr(value)  # 1, 1.0 and True are equal


@pytest.mark.parametrize("protocol", [0, 1])
def test_protocols_of_old_are_read(protocol: int) -> None:
    value = {"a": [1, 2.5, True, None, (3, "é\n")], "b": {"c": -(2**70)}, 4: ()}
    assert read(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_shared_and_self_containing_values_keep_their_identity(protocol: int) -> None:
    shared: list[Any] = [1]
    value: list[Any] = [shared, shared]
    value.append(value)
    ours = read(pickle.dumps(value, protocol))
    assert ours[0] is ours[1]
    assert ours[2] is ours


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_sets_become_lists(protocol: int) -> None:
    calls = {
        f"{home}.{kind}": lambda arguments: arguments[0]
        for home in ("builtins", "__builtin__")
        for kind in SETS
    }
    for value in ({1, 2, 3}, frozenset((4, 5))):
        ours = read_pickle(io.BytesIO(pickle.dumps(value, protocol)), calls, refuse)
        assert isinstance(ours, list)
        assert sorted(ours) == sorted(value)


SETS = ("set", "frozenset")


class Plain:
    """A class with attributes, made by pickle without a call of `__init__`."""

    def __init__(self) -> None:
        self.color = "red"


class Queue(list[Any]):
    """A list with a class of its own."""


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_an_object_becomes_a_note_of_what_the_pickle_says(protocol: int) -> None:
    made = read(pickle.dumps(Plain(), protocol))
    assert isinstance(made, Record)
    assert made.kind == f"{__name__}.Plain"
    assert made.state == {"color": "red"}

    items = read(pickle.dumps(Queue([1, 2]), protocol))
    assert (items.kind, items.items) == (f"{__name__}.Queue", [1, 2])

    table = read(pickle.dumps(collections.defaultdict(int, a=1), protocol))
    assert (table.kind, table.table) == ("collections.defaultdict", {"a": 1})

    name = read(pickle.dumps(Plain, protocol))
    assert isinstance(name, Global)
    assert name.name == f"{__name__}.Plain"


def test_persistent_ids_and_own_functions_are_the_callers() -> None:
    class Writer(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            return ("box", 7) if value == "seven" else None

    stream = io.BytesIO()
    Writer(stream, 2).dump(["seven", collections.OrderedDict(a=1)])
    seen = read_pickle(
        io.BytesIO(stream.getvalue()),
        {"collections.OrderedDict": lambda arguments: {"made": arguments}},
        lambda i: i[1],
    )
    assert seen == [7, {"made": (), "a": 1}]


# --- nothing runs ---------------------------------------------------------------------------------


class Payload:
    """Runs a function when it is unpickled."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


class Setter:
    """Writes a file when its state is set."""

    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __getstate__(self) -> str:
        return self.marker

    def __setstate__(self, state: str) -> None:
        Path(state).touch()


class Hashed:
    """Writes a file when it is put into a dict."""

    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __hash__(self) -> int:
        Path(self.__dict__.get("marker", os.devnull)).touch()
        return 1

    def __eq__(self, other: object) -> bool:
        return self is other

    def __reduce__(self) -> tuple[Any, ...]:
        return (Hashed, (self.marker,))


def touch(marker: str) -> None:
    """Write a file."""
    Path(marker).touch()


def hostile(marker: Path) -> dict[str, bytes]:
    """Return pickles that write a file when they are loaded, by what they use."""
    path = str(marker)
    code = f"__import__('pathlib').Path({path!r}).touch()"
    found = {}
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        objects = {
            "system": Payload(os.system, f"touch '{path}'"),
            "eval": Payload(eval, code),
            "exec": Payload(exec, code),
            "open": Payload(open, path, "w"),
            "nested": {"model": [Payload(eval, code)]},
            "in a key": {Hashed(path): 1},
            "setstate": Setter(path),
            "pickle in a pickle": Payload(pickle.loads, pickle.dumps(Payload(eval, code))),
        }
        found |= {
            f"{name}, protocol {protocol}": pickle.dumps(item, protocol)
            for name, item in objects.items()
        }
    line = code.encode()
    return found | {
        "inst": b"(S" + repr(code).encode() + b"\ni__builtin__\neval\n.",
        "obj": b"(c__builtin__\neval\nV" + line + b"\no.",
        "newobj": b"\x80\x02c"
        + f"{__name__}\nHooked\n".encode()
        + b"X"
        + len(path).to_bytes(4, "little")
        + path.encode() + b"\x85\x81.",
        "getattr": b"c__builtin__\ngetattr\n(c__builtin__\n__import__\n"
        b"(S'os'\ntRS'system'\ntR(S'touch "
        + path.encode() + b"'\ntR.",
        "reconstructor": b"ccopy_reg\n_reconstructor\n(c" + f"{__name__}\nHooked\n".encode() + b"c"
        + f"{__name__}\nHookedBase\n".encode() + b"V" + path.encode() + b"\ntR.",
    }  # fmt: skip


class HookedBase:
    """A base whose constructor writes a file."""

    def __new__(cls, marker: str) -> HookedBase:
        Path(marker).touch()
        return super().__new__(cls)

    def __init__(self, marker: str) -> None:
        """Do nothing."""


class Hooked(HookedBase):
    """A class whose constructor writes a file."""


@pytest.mark.parametrize("name", sorted(hostile(Path(os.devnull))))
def test_a_pickle_that_would_run_code_does_not(name: str, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    content = hostile(marker)[name]
    marker.unlink()  # hashing while the pickles were written
    read(content)
    assert not marker.exists()
    try:
        pickle.loads(content)  # the control: elsewhere it does
    except (TypeError, AttributeError):
        assert marker.exists()  # it had run by then
    assert marker.exists()


def test_a_module_that_a_pickle_names_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "never_imported_by_inert.py").write_text("class Thing: pass\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    content = b"\x80\x02cnever_imported_by_inert\nThing\n)\x81."
    assert read(content).kind == "never_imported_by_inert.Thing"
    assert "never_imported_by_inert" not in sys.modules
    pickle.loads(content)
    assert sys.modules.pop("never_imported_by_inert")


def test_the_register_of_copyreg_is_not_looked_at(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    copyreg.add_extension(__name__, "touch", 77)
    try:
        content = (
            b"\x80\x02\x82\x4d"
            + b"X"
            + len(str(marker)).to_bytes(4, "little")
            + str(marker).encode()
            + b"\x85R."
        )
        read(content)
        assert not marker.exists()
        pickle.loads(content)
        assert marker.exists()
    finally:
        copyreg.remove_extension(__name__, "touch", 77)


def test_an_own_function_is_called_by_its_full_name_only() -> None:
    called: list[Any] = []
    calls = {"torch._utils.mine": called.append}
    for name in (
        b"ctorch._utils\nmine.__globals__\n",
        b"ctorch\n_utils\n",
        b"c\ntorch._utils.mine\n",
    ):
        read_pickle(io.BytesIO(name + b"(I1\ntR."), calls, refuse)
    read_pickle(
        io.BytesIO(b"ctorch._utils\nmine\n](I1\neR."), calls, refuse
    )  # arguments that are no tuple
    assert called == []
    read_pickle(io.BytesIO(b"ctorch._utils\nmine\n(I1\ntR."), calls, refuse)
    assert called == [(1,)]


# --- limits ---------------------------------------------------------------------------------------


def test_too_many_instructions_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inert, "MAX_OPCODES", 100)
    assert read(b"N0" * 49 + b"N.") is None
    with pytest.raises(Unreadable, match="more than 100 instructions"):
        read(b"N0" * 50 + b"N.")


def test_too_many_marks_are_refused() -> None:
    with pytest.raises(Unreadable, match="nested more than 1,000 deep"):
        read(b"(" * 1001 + b".")


def test_a_large_integer_is_refused() -> None:
    with pytest.raises(Unreadable, match=r"integer of 8,\d+ bits"):
        read(pickle.dumps(2**8000, 2))


@pytest.mark.parametrize("wrap", [b"\x85", b"]q\x00h\x00a", b"}q\x00NNs"])
def test_values_nested_as_deep_as_one_likes_come_and_go(wrap: bytes) -> None:
    content = b"\x80\x02N" + wrap * 200_000 + b"."
    assert read(content) is not None


def test_a_doubling_tuple_as_a_key_is_not_hashed() -> None:
    doubled = b")" + b"2\x86" * 60  # 2**60 elements when traversed
    table = read(b"\x80\x02}" + doubled + b"Ns.")
    (key,) = table
    assert isinstance(key, Record)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b".",
        b"N",
        b"a.",
        b"(t",
        b"0.",
        b"e.",
        b"h\x00.",
        b"R.",
        b"\x81.",
        b"b.",
        b"NN\x86",
        b"Ns.",
        b"]Na",
        b"(Nd.",
        b"NNa.",
        b"X\xff\xff\xff\xffabc.",
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x8b\xff\xff\xff\x7f.",
        b"\x97.",
        b"\xff.",
        b"I99999999999x\n.",
        b"c\xff\n\xff\n.",
        b"F1..\n.",
        b"r\xff\xff\xff\xff.",
        b"PN\n.",
        b"NQ.",
    ],
)
def test_what_is_no_pickle_is_said_to_be_none(content: bytes) -> None:
    with pytest.raises(Unreadable):
        read(content)


def test_a_large_memo_index_takes_no_memory() -> None:
    assert read(b"\x80\x02Nr\xff\xff\xff\xff.") is None


@given(st.binary(max_size=300))
def test_random_bytes_raise_nothing_else(content: bytes) -> None:
    try:
        read(content)
    except Unreadable:
        return


OPCODES = st.sampled_from(
    [
        bytes([code])
        for code in b"(.012abdehjloqrstuNQR]})\x81\x85\x86\x87\x88\x8f\x90\x91\x92\x93\x94"
    ]
)


@given(
    st.lists(
        OPCODES | st.sampled_from([b"cos\nsystem\n", b"K\x01", b"U\x01a", b"h\x00", b"q\x00"]),
        max_size=60,
    )
)
def test_random_instructions_raise_nothing_else(parts: list[bytes]) -> None:
    try:
        read(b"\x80\x02" + b"".join(parts) + b".")
    except Unreadable:
        return
