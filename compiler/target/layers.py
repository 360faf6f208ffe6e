"""The cycles of whole layers on a host by their kind, as kernels of a library were counted."""

from __future__ import annotations

from typing import Annotated

from compiler.target.keys import key
from compiler.target.quantity import Quantity, Strict

# A convolution of fewer input channels than a word holds int8 numbers is narrow.
NARROW_CHANNELS = 4


class LayerCycles(Strict):
    """Cycles of layers by kind, their results and the requantization of these included.

    Where a host has them, a product takes its MACs times those of its kind, a pool those of each
    element in its windows, and every operation those of its start. All cycles of the host, these
    and the others of its table, are multiplied with `cycle_scale`: one factor between the cycles
    counted here and those measured on the part.
    """

    cycles_per_convolution_mac: Annotated[
        Quantity, key("cycles of a MAC in a convolution, its results included", "cycle")
    ]
    cycles_per_narrow_mac: Annotated[
        Quantity, key("the same of fewer than 4 input channels", "cycle")
    ]
    cycles_per_depthwise_mac: Annotated[
        Quantity, key("the same where each group reads one channel", "cycle")
    ]
    cycles_per_dense_mac: Annotated[Quantity, key("the same in a matrix product", "cycle")]
    cycles_per_pooled_element: Annotated[
        Quantity, key("cycles of each element in the windows of a pool", "cycle")
    ]
    cycles_per_start: Annotated[Quantity, key("cycles of each operation besides its work", "cycle")]
    cycle_scale: Annotated[Quantity, key("what all cycles of the host are multiplied with", "1")]
