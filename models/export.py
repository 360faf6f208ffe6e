"""Writes a trained network as an ONNX model, one node for every step."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from models.architectures import CLASSES
from models.network import INPUT, Add, Network

OPSET = 17
IR_VERSION = 8
FREE_BATCH = "N"

Attributes = dict[str, int | float | list[int]]
Weights = dict[str, Tensor]


def onnx_model(network: Network) -> onnx.ModelProto:
    """The network as ONNX; node, value and weight names begin with the step's name.

    A value has the name of the node that makes it, except the last, which is `network.output`.
    """
    nodes: list[onnx.NodeProto] = []
    initializers: dict[str, onnx.TensorProto] = {}
    for step in network.steps:
        operator, attributes, weights = onnx_operator(step.name, step.module)
        is_last = step is network.steps[-1]
        node = helper.make_node(
            operator,
            inputs=[*step.inputs, *weights],
            outputs=[network.output if is_last else step.name],
            name=step.name,
        )
        node.attribute.extend(helper.make_attribute(*item) for item in attributes.items())
        nodes.append(node)
        for name, weight in weights.items():
            array = weight.detach().numpy().astype(np.float32)
            initializers[name] = numpy_helper.from_array(array, name)

    batch = FREE_BATCH if network.batch is None else network.batch
    graph = helper.make_graph(
        nodes,
        network.name,
        inputs=[float_value(INPUT, [batch, *network.image_shape])],
        outputs=[float_value(network.output, [batch, CLASSES])],
        initializer=list(initializers.values()),
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="joulec models.train_digits",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def float_value(name: str, shape: list[int | str]) -> onnx.ValueInfoProto:
    """A float32 input or output of the model; a text in the shape names a free axis."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def onnx_operator(name: str, module: nn.Module) -> tuple[str, Attributes, Weights]:
    """The ONNX operator that does what the module does, its attributes, its weights by name."""
    match module:
        case nn.Conv2d():
            return "Conv", convolution_attributes(module), {f"{name}.weight": module.weight}
        case nn.BatchNorm2d():
            return "BatchNormalization", {"epsilon": module.eps}, norm_weights(name, module)
        case nn.ReLU6():
            # The two limits are inputs in ONNX; all Clip nodes of a model share them.
            limits = {"relu6.minimum": Tensor([0.0])[0], "relu6.maximum": Tensor([6.0])[0]}
            return "Clip", {}, limits
        case nn.ReLU():
            return "Relu", {}, {}
        case Add():
            return "Add", {}, {}
        case nn.AdaptiveAvgPool2d(output_size=1):
            return "GlobalAveragePool", {}, {}
        case nn.AvgPool2d(kernel_size=int(size), stride=int(stride), padding=0):
            return "AveragePool", {"kernel_shape": [size] * 2, "strides": [stride] * 2}, {}
        case nn.Flatten(start_dim=1):
            return "Flatten", {"axis": 1}, {}
        case nn.Linear():
            weights: Weights = {f"{name}.weight": module.weight, f"{name}.bias": module.bias}
            return "Gemm", {"transB": 1}, weights
        case nn.Softmax(dim=int(axis)):
            return "Softmax", {"axis": axis}, {}
    raise NotImplementedError(f"step '{name}': add {module} to models/export.py")


def convolution_attributes(convolution: nn.Conv2d) -> Attributes:
    """Kernel, strides and pads of a convolution; ONNX lists the pads of all four sides."""
    return {
        "kernel_shape": list(convolution.kernel_size),
        "strides": list(convolution.stride),
        "pads": [int(pad) for pad in convolution.padding] * 2,
        "group": convolution.groups,
    }


def norm_weights(name: str, norm: nn.BatchNorm2d) -> Weights:
    """The four vectors of a batch normalization, in the order of ONNX."""
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError(f"step '{name}' does not track its mean and variance")
    return {
        f"{name}.scale": norm.weight,
        f"{name}.bias": norm.bias,
        f"{name}.mean": norm.running_mean,
        f"{name}.variance": norm.running_var,
    }
