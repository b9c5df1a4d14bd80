"""Pickle reader that executes nothing: every class and function named in the file stays a name.

The standard unpickler calls whatever a file names, so opening a checkpoint from an untrusted source
runs its code. This is a separate interpreter of the pickle opcodes. It imports nothing, calls only
the few functions passed by its caller, and sets no attributes except on its own records. Source of
the opcodes: `pickletools` of the standard library, which also decodes their arguments.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from yolo_stability.checkpoint.pickle_objects import Global, Record, Unreadable

__all__ = ["MAX_OPCODES", "read_pickle"]

MAX_OPCODES = 4_000_000
"""A YOLO26n checkpoint takes 71,000; memo and stack cannot outgrow the number of opcodes."""
MAX_MARKS, MAX_NAME = 1_000, 500
MAX_INTEGER_BITS = 256  # the magic number of the legacy format has 77

Call = Callable[[tuple[Any, ...]], Any]


def read_pickle(stream: BinaryIO, calls: Mapping[str, Call], persistent: Call) -> Any:
    """Read one pickle and leave the stream after its end.

    Args:
        stream: Bytes in memory, so a false declared length cannot allocate more.
        calls: Replacements of named functions, by dotted name; each takes the tuple of arguments as
            read, of any type, and raises Unreadable for invalid ones.
        persistent: Function that converts a persistent id, given as a tuple, to a value.

    Returns:
        Scalars, lists (also for sets), tuples and dicts; results of `calls` and `persistent`;
        Global and Record for everything else.

    Raises:
        Unreadable: Not a pickle, or one beyond the limits.

    Example:
        >>> import io, pickle
        >>> read_pickle(io.BytesIO(pickle.dumps({"lr0": 0.01})), {}, lambda key: key)
        {'lr0': 0.01}
        >>> read_pickle(io.BytesIO(pickle.dumps(print)), {}, lambda key: key).name
        'builtins.print'
    """
    machine = _Machine(calls, persistent)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if count >= MAX_OPCODES:
                raise Unreadable(f"its pickle takes more than {MAX_OPCODES:,} instructions")
            machine.do(opcode.name, argument)
        return machine.result()
    except (ValueError, TypeError, IndexError, KeyError, OverflowError, MemoryError) as error:
        raise Unreadable("its pickle is damaged") from error


class _Machine:
    """Stack, marks and memo of one pickle.

    Args:
        calls: As in `read_pickle`.
        persistent: As in `read_pickle`.
    """

    def __init__(self, calls: Mapping[str, Call], persistent: Call) -> None:
        self._calls, self._persistent = calls, persistent
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def do(self, opcode: str, argument: Any) -> None:
        """Execute one instruction."""
        if opcode in _ARGUMENTS:
            self._stack.append(_bounded(argument))
        elif opcode in _CONSTANTS:
            self._stack.append(_CONSTANTS[opcode])
        elif opcode in _EMPTY:
            self._stack.append(_EMPTY[opcode]())
        elif opcode in _ACTIONS:
            _ACTIONS[opcode](self, argument)
        else:
            raise Unreadable(f"its pickle uses the instruction {opcode}, which torch never writes")

    def result(self) -> Any:
        """Return the top of the stack."""
        return self._stack[-1]

    # --- stack, marks, memo ---

    def put(self, argument: int | None) -> None:
        """Store the top of the stack in the memo, under the next free number if none is given."""
        self._memo[len(self._memo) if argument is None else argument] = self._stack[-1]

    def get(self, argument: int) -> None:
        """Push a value from the memo."""
        self._stack.append(self._memo[argument])

    def mark(self, _: Any) -> None:
        """Start a new section of the stack."""
        if len(self._marked) >= MAX_MARKS:
            raise Unreadable(f"its pickle is nested more than {MAX_MARKS:,} deep")
        self._marked.append(self._stack)
        self._stack = []

    def pop(self, _: Any) -> None:
        """Drop the top of the stack."""
        if self._stack:
            self._stack.pop()
        else:
            self._since_mark()

    def pop_mark(self, _: Any) -> None:
        """Drop everything since the mark."""
        self._since_mark()

    def duplicate(self, _: Any) -> None:
        """Push the top of the stack again."""
        self._stack.append(self._stack[-1])

    def _since_mark(self) -> list[Any]:
        """Remove and return everything since the mark."""
        items, self._stack = self._stack, self._marked.pop()
        return items

    def _take(self, count: int) -> tuple[Any, ...]:
        """Remove and return the top `count` items."""
        if len(self._stack) < count:
            raise IndexError(count)
        items = tuple(self._stack[-count:])
        del self._stack[-count:]
        return items

    # --- containers ---

    def short_tuple(self, count: int) -> None:
        """Pack the last items into a tuple."""
        self._stack.append(self._take(count))

    def long_tuple(self, _: Any) -> None:
        """Pack everything since the mark into a tuple."""
        items = self._since_mark()
        self._stack.append(tuple(items))

    def long_list(self, _: Any) -> None:
        """Pack everything since the mark into a list; sets become lists, which need no hashing."""
        items = self._since_mark()
        self._stack.append(items)

    def long_dict(self, _: Any) -> None:
        """Pack everything since the mark into a dict."""
        items = self._since_mark()
        table: dict[Any, Any] = {}
        _set_items(table, items)
        self._stack.append(table)

    def append(self, _: Any) -> None:
        """Append the top of the stack to the list below."""
        _extend(self._stack[-2], self._take(1))

    def appends(self, _: Any) -> None:
        """Append everything since the mark to the list below."""
        items = self._since_mark()
        _extend(self._stack[-1], items)

    def set_item(self, _: Any) -> None:
        """Set one pair in the dict below."""
        items = self._take(2)
        _set_items(self._stack[-1], items)

    def set_items(self, _: Any) -> None:
        """Set all pairs since the mark in the dict below."""
        items = self._since_mark()
        _set_items(self._stack[-1], items)

    # --- names and objects ---

    def name(self, argument: str) -> None:
        """Push the name of a class or function."""
        self._stack.append(Global(argument.replace(" ", ".", 1)))

    def name_on_stack(self, _: Any) -> None:
        """Push the name of a class or function whose parts are on the stack."""
        module, name = self._take(2)
        short = all(isinstance(word, str) and len(word) <= MAX_NAME for word in (module, name))
        self._stack.append(Global(f"{module}.{name}" if short else ""))

    def extension(self, _: Any) -> None:
        """Push an unnamed class for an entry of the `copyreg` registry, which is not consulted."""
        self._stack.append(Global(""))

    def call(self, _: Any) -> None:
        """Record the call of a function; only replacements passed by the caller are executed."""
        function, arguments = self._take(2)
        name = function.name if isinstance(function, Global) else ""
        if name in self._calls and isinstance(arguments, tuple):
            self._stack.append(self._calls[name](arguments))
        else:
            self._stack.append(Record(name, arguments))

    def new(self, _: Any) -> None:
        """Record the creation of an object."""
        made, arguments = self._take(2)
        self._stack.append(Record(made.name if isinstance(made, Global) else "", arguments))

    def new_with_keywords(self, _: Any) -> None:
        """Record the creation of an object with keyword arguments."""
        made, *arguments = self._take(3)
        self._stack.append(Record(made.name if isinstance(made, Global) else "", tuple(arguments)))

    def instance(self, argument: str) -> None:
        """Record the creation of an old-style instance whose class is named in the instruction."""
        arguments = self._since_mark()
        self._stack.append(Record(argument.replace(" ", ".", 1), tuple(arguments)))

    def old_object(self, _: Any) -> None:
        """Record the creation of an old-style instance whose class follows the mark."""
        made, *arguments = self._since_mark()
        self._stack.append(Record(made.name if isinstance(made, Global) else "", tuple(arguments)))

    def build(self, _: Any) -> None:
        """Record the attributes of an object."""
        target, state = self._stack[-2], self._take(1)[0]
        if isinstance(target, Record):
            target.state = state

    def persistent_text(self, argument: str) -> None:
        """Let the caller resolve a textual persistent id."""
        self._stack.append(self._persistent((argument,)))

    def persistent(self, _: Any) -> None:
        """Let the caller resolve a persistent id on the stack."""
        (key,) = self._take(1)
        self._stack.append(self._persistent(key if isinstance(key, tuple) else (key,)))

    def nothing(self, _: Any) -> None:
        """Skip an instruction that changes no value."""


def _bounded(value: Any) -> Any:
    """Return a value, unless it is an integer large enough to make arithmetic very slow."""
    if isinstance(value, int) and value.bit_length() > MAX_INTEGER_BITS:
        raise Unreadable(f"its pickle has an integer of {value.bit_length():,} bits")
    return value


def _extend(target: Any, items: Any) -> None:
    """Append to a list or to the record of an object."""
    if isinstance(target, Record):
        target.items.extend(items)
    elif isinstance(target, list):
        target.extend(items)
    else:
        raise TypeError(target)


def _set_items(target: Any, items: Any) -> None:
    """Set pairs in a dict or in the record of an object."""
    table = target.table if isinstance(target, Record) else target
    if not isinstance(table, dict) or len(items) % 2:
        raise TypeError(target)
    for key, value in zip(items[::2], items[1::2], strict=True):
        # Hashing a tuple walks all of it: a deep or self-repeating one would crash or never finish.
        table[key if isinstance(key, _PLAIN | Record | Global) else Record("", key)] = value


_PLAIN = str | int | float | bool | bytes | None
_ARGUMENTS = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *(
            "STRING",
            "BINSTRING",
            "SHORT_BINSTRING",
            "UNICODE",
            "SHORT_BINUNICODE",
            "BINUNICODE",
            "BINUNICODE8",
        ),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    )
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: Mapping[str, Callable[[], Any]] = {
    "EMPTY_LIST": list,
    "EMPTY_SET": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
}
_ACTIONS: Mapping[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), _Machine.nothing),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _Machine.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
    **dict.fromkeys(("EXT1", "EXT2", "EXT4"), _Machine.extension),
    **dict.fromkeys(("LIST", "FROZENSET"), _Machine.long_list),
    **dict.fromkeys(("APPENDS", "ADDITEMS"), _Machine.appends),
    "MARK": _Machine.mark,
    "POP": _Machine.pop,
    "POP_MARK": _Machine.pop_mark,
    "DUP": _Machine.duplicate,
    "TUPLE": _Machine.long_tuple,
    "TUPLE1": lambda machine, _: machine.short_tuple(1),
    "TUPLE2": lambda machine, _: machine.short_tuple(2),
    "TUPLE3": lambda machine, _: machine.short_tuple(3),
    "DICT": _Machine.long_dict,
    "APPEND": _Machine.append,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.name_on_stack,
    "INST": _Machine.instance,
    "OBJ": _Machine.old_object,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.new,
    "NEWOBJ_EX": _Machine.new_with_keywords,
    "BUILD": _Machine.build,
    "PERSID": _Machine.persistent_text,
    "BINPERSID": _Machine.persistent,
}
