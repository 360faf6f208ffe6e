"""Binds the free sizes of a model's inputs to numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

import onnx

from compiler.errors import ModelError, UsageError, nearest
from compiler.ir.graph import DTYPE_BITS, TensorType
from compiler.ir.protos import from_type_proto


@dataclass(frozen=True)
class Sizes:
    """The model's inputs with their sizes bound, and what was assumed for it.

    `batch_axes` has the axis of each input that is free as a batch is: its first, or one of the
    same symbol. Whether it is one has to be tried (compiler.frontend.batch); `assumed` has those
    that nobody bound, which then are 1.
    """

    types: Mapping[str, TensorType]
    symbols: Mapping[str, int]
    batch_axes: Mapping[str, int]
    assumed: Mapping[str, int]
    flags: tuple[str, ...]

    def declared(self, value: onnx.ValueInfoProto) -> TensorType:
        """Returns the type the model declares for a value, with its symbols bound."""
        kind = _type_of(value)
        if kind.shape is None:
            return kind
        shape = tuple(
            dim.dim_value if _fixed(dim) else self.symbols.get(dim.dim_param)
            for dim in value.type.tensor_type.shape.dim
        )
        return TensorType(kind.dtype, shape)


def bind_sizes(
    inputs: list[onnx.ValueInfoProto], bind: Mapping[str, int], read: Set[str] | None = None
) -> Sizes:
    """Gives every free size of the inputs a number.

    It comes from `bind`, by symbol or as INPUT:AXIS, else it is 1 where it is a batch. An input
    that nothing reads (`read` has those that something does, None all) may be of any size.

    Raises UsageError for a size that stays free (U003) and for a name in `bind` that the model has
    not (U004).
    """
    _check_names(inputs, bind)
    symbols = {
        dim.dim_param: bind[dim.dim_param] for _, _, dim in _free(inputs) if dim.dim_param in bind
    }
    assumed_symbols, assumed = set[str](), dict[str, int]()
    for value, axis, dim in _free(inputs):
        key = f"{value.name}:{axis}"
        if axis == 0 and key not in bind and dim.dim_param not in symbols:
            assumed[value.name] = 0
            if _is_symbol(dim.dim_param):
                assumed_symbols.add(dim.dim_param)
    symbols |= dict.fromkeys(assumed_symbols, 1)
    batch_symbols = {
        dim.dim_param for _, axis, dim in _free(inputs) if axis == 0 and _is_symbol(dim.dim_param)
    }
    batch_axes: dict[str, int] = {}
    flags = []
    for value, axis, dim in _free(inputs):
        if axis == 0 or dim.dim_param in batch_symbols:
            batch_axes.setdefault(value.name, axis)
        if dim.dim_param in assumed_symbols:
            assumed.setdefault(value.name, axis)
            flags.append(_flag(value.name, axis, dim.dim_param))
        elif axis == 0 and value.name in assumed:
            flags.append(_flag(value.name, axis, dim.dim_param))
    types, missing = {}, []
    for value in inputs:
        kind = _type_of(value)
        if kind.shape is None and kind.dtype in DTYPE_BITS:
            raise ModelError(
                f"input {value.name!r} has no shape",
                code="M004",
                hint="export the model with the shapes of its inputs",
            )
        if kind.shape is not None:
            sizes: list[int | None] = []
            for axis, dim in enumerate(value.type.tensor_type.shape.dim):
                size = _size_of(value.name, axis, dim, bind, symbols)
                wanted = kind.dtype != "string" and (read is None or value.name in read)
                if size is None and wanted:
                    missing.append((value.name, axis, dim.dim_param))
                sizes.append(size)
            kind = TensorType(kind.dtype, tuple(sizes))
        types[value.name] = kind
    if missing:
        raise _unbound(missing)
    return Sizes(
        types=types,
        symbols=symbols,
        batch_axes=batch_axes,
        assumed=assumed,
        flags=tuple(dict.fromkeys(flags)),
    )


def sizes_like(
    inputs: list[onnx.ValueInfoProto],
    like: Mapping[str, Sequence[int | None]],
    bind: Mapping[str, int],
) -> dict[str, int]:
    """Adds to `bind` the sizes of these shapes, by input name, for the free ones that it leaves."""
    sizes = dict(bind)
    for value, axis, dim in _free(inputs):
        shape = like.get(value.name, ())
        size = shape[axis] if len(shape) == len(value.type.tensor_type.shape.dim) else None
        if size is not None and dim.dim_param not in bind and f"{value.name}:{axis}" not in bind:
            sizes.setdefault(_flag(value.name, axis, dim.dim_param), size)
    return sizes


def unbound(sizes: Sizes, reason: str) -> UsageError:
    """Makes the error that asks for the sizes that nobody bound, with the reason."""
    name, axis = next(iter(sizes.assumed.items()))
    return UsageError(
        f"the size of axis {axis} of input {name!r} is free, and {reason}",
        code="U003",
        hint=f"add {' '.join(f'--bind {flag}=SIZE' for flag in sizes.flags)}",
    )


def _size_of(
    name: str,
    axis: int,
    dim: onnx.TensorShapeProto.Dimension,
    bind: Mapping[str, int],
    symbols: Mapping[str, int],
) -> int | None:
    if _fixed(dim):
        return int(dim.dim_value)
    if dim.dim_value < -1:  # -1 is what some exporters write for a free size
        raise ModelError(
            f"input {name!r} has a negative size, {dim.dim_value}, on axis {axis}", code="M004"
        )
    if f"{name}:{axis}" in bind:
        return bind[f"{name}:{axis}"]
    if dim.dim_param in symbols:
        return symbols[dim.dim_param]
    return 1 if axis == 0 else None


def _unbound(missing: list[tuple[str, int, str]]) -> UsageError:
    flags = dict.fromkeys(f"--bind {_flag(*one)}=SIZE" for one in missing)
    name, axis, symbol = missing[0]
    called = f" ({symbol!r})" if symbol else ""
    return UsageError(
        f"the size of axis {axis}{called} of input {name!r} is free, a chip needs fixed sizes",
        code="U003",
        hint=f"add {' '.join(flags)}",
    )


def _flag(name: str, axis: int, symbol: str) -> str:
    """What a free size is called where it is bound."""
    return symbol if _is_symbol(symbol) else f"{name}:{axis}"


def _check_names(inputs: list[onnx.ValueInfoProto], bind: Mapping[str, int]) -> None:
    known = [dim.dim_param for _, _, dim in _free(inputs) if _is_symbol(dim.dim_param)]
    known += [f"{value.name}:{axis}" for value, axis, _ in _free(inputs)]
    for name, size in bind.items():
        if name not in known and name != "?":
            listed = ", ".join(dict.fromkeys(known)) or "none"
            raise UsageError(
                f"the model has no free size {name!r}; free are: {listed}",
                code="U004",
                hint=nearest(name, known),
            )
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            raise UsageError(
                f"size {name!r} is bound to {size!r}, a size is 0 or more", code="U004"
            )


def _free(
    inputs: list[onnx.ValueInfoProto],
) -> Iterator[tuple[onnx.ValueInfoProto, int, onnx.TensorShapeProto.Dimension]]:
    for value in inputs:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if not _fixed(dim):
                yield value, axis, dim


def _fixed(dim: onnx.TensorShapeProto.Dimension) -> bool:
    return dim.HasField("dim_value") and dim.dim_value >= 0


def _is_symbol(name: str) -> bool:
    """Whether a size's name says which size it is ('?' and an empty name stand for any)."""
    return name not in ("", "?", "-1", "None", "unknown")


def _type_of(value: onnx.ValueInfoProto) -> TensorType:
    try:
        return from_type_proto(value.type)
    except ValueError as error:
        number = value.type.tensor_type.elem_type
        raise ModelError(
            f"value {value.name!r} has the unknown element type {number}", code="M004"
        ) from error
