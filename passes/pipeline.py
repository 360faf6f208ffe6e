"""The passes in order, by stage of a compilation, each with the reason for its place."""

from __future__ import annotations

from compiler.choices import Objective, Place, PruneMethod, Weights
from passes.base import Pass
from passes.calibrate import Calibrate
from passes.calibration.inputs import CalibrationInputs
from passes.eliminate_dead import EliminateDead
from passes.fold_batchnorm import FoldBatchnorm
from passes.fold_constants import FoldConstants
from passes.fold_dequantized import FoldDequantized
from passes.fuse_activations import FuseActivations
from passes.lower_convolution import LowerConvolution
from passes.move_quantization import MoveQuantization
from passes.narrow_formats import NarrowFormats
from passes.normalize_quantization import NormalizeQuantization
from passes.pad_to_tiles import PadToTiles
from passes.partition import MAX_DIVERGENCE, Partition
from passes.place_in_float import PlaceInFloat
from passes.pool_means import PoolMeans
from passes.prune import Prune
from passes.quantize import Quantize
from passes.refit import Refit
from passes.undo_dynamic_quantization import UndoDynamicQuantization
from passes.unify_formats import UnifyFormats
from passes.widen_half import WidenHalf


def clean_passes(*, calibrated: bool = True) -> tuple[Pass, ...]:
    """What needs no data and knows no chip: fewer and plainer nodes to decide on.

    `calibrated` says whether real data will fix ranges that a model leaves open.
    """
    dynamic = (UndoDynamicQuantization(),) if calibrated else ()
    return (
        EliminateDead(),  # first: nothing is spent on what nobody reads
        FoldConstants(),  # shapes and weights become constants that later passes can look at
        *dynamic,  # leaves floats, for all that follows
        WidenHalf(),  # before anything is folded into weights, so that it is folded in float32
        PoolMeans(),  # names what engines have, for the passes that look for it
        UnifyFormats(),  # 8 bits are the widest and the only format of activations from here on
        MoveQuantization(),  # what has one format can be moved, and lies at the arithmetic then
        NarrowFormats(),  # needs the weights at their products, to know their columns
        NormalizeQuantization(),  # the integers a model brings along, before anything touches them
        FoldDequantized(),  # what is left of quantized weights: their activations are floats
        FoldBatchnorm(),  # needs constant weights; leaves one node a layer
    )


def prune_passes(
    inputs: CalibrationInputs, share: float = 0.0, method: PruneMethod = "second-order"
) -> tuple[Pass, ...]:
    """What takes channels out of a clean graph."""
    return (Prune(share, inputs, method),)  # nothing placed yet depends on a size


def matrix_passes() -> tuple[Pass, ...]:
    """What lowers a graph to the form in which it is calibrated and placed."""
    return (
        LowerConvolution(),  # one form meets the arrays
        FuseActivations(),  # products carry a clip only in that form; ranges are of the result
    )


def calibrate_passes(inputs: CalibrationInputs) -> tuple[Pass, ...]:
    """What measures a lowered graph."""
    return (Calibrate(inputs),)  # partition needs ranges and divergences of the layers as they are


def place_passes(
    inputs: CalibrationInputs,
    *,
    objective: Objective = "energy",
    max_divergence: float | None = None,
    weights: Weights = "auto",
    place: Place = (),
) -> tuple[Pass, ...]:
    """What chooses engines, mappings and formats for a calibrated graph.

    `max_divergence` None is MAX_DIVERGENCE, and on made-up inputs at least what int8 alone causes.
    """
    allow_int8 = max_divergence is None and inputs.synthetic
    budget = MAX_DIVERGENCE if max_divergence is None else max_divergence
    return (
        Partition(
            objective=objective,
            max_divergence=budget,
            weights=weights,
            allow_int8=allow_int8,
            place=place,
        ),
    )


def quantize_passes(inputs: CalibrationInputs) -> tuple[Pass, ...]:
    """What brings a placed graph into the formats of its engines."""
    return (
        Quantize(),  # writes the chosen formats, which partition had to choose first
        Refit(inputs),  # fits weights to formats that are there, on the network as it has become
        PadToTiles(),  # last, so that only what lies on tiles is padded or split
    )


def compile_passes(
    inputs: CalibrationInputs,
    *,
    prune_share: float = 0.0,
    prune_method: PruneMethod = "second-order",
    objective: Objective = "energy",
    max_divergence: float | None = None,
    weights: Weights = "auto",
    place: Place = (),
) -> tuple[Pass, ...]:
    """Everything that makes a clean graph a placed one in the formats of its engines."""
    return (
        *prune_passes(inputs, prune_share, prune_method),
        *matrix_passes(),
        *calibrate_passes(inputs),
        *place_passes(
            inputs,
            objective=objective,
            max_divergence=max_divergence,
            weights=weights,
            place=place,
        ),
        *quantize_passes(inputs),
    )


def float_clean_passes() -> tuple[Pass, ...]:
    """What cleans a graph in which nothing is quantized.

    The result is the model's own, so no sum is rewritten.
    """
    return (EliminateDead(),)  # first: nothing is spent on what nobody reads


def float_matrix_passes() -> tuple[Pass, ...]:
    """What lowers a graph in which nothing is quantized."""
    return (LowerConvolution(in_float=True),)  # one form meets an array that computes in floats


def float_place_passes() -> tuple[Pass, ...]:
    """What places a graph in which nothing is quantized."""
    return (PlaceInFloat(),)  # last: no format has to be chosen, so nothing has to be measured


def float_passes() -> tuple[Pass, ...]:
    """Everything that a compilation runs in which nothing is quantized."""
    return (*float_clean_passes(), *float_matrix_passes(), *float_place_passes())
