"""Writes a trained network as an ONNX model, one node for every step."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from models.network import INPUT, Add, Network, Step

OPSET = 17
IR_VERSION = 8
FREE_BATCH = "N"

Attributes = dict[str, int | float | list[int]]


class NodeWriter:
    """Collects the nodes and the weights of one model."""

    def __init__(self, network: Network) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, onnx.TensorProto] = {}
        self.renamed = {network.steps[-1].name: network.output}

    def weight(self, name: str, values: Tensor) -> str:
        """Keeps a weight, once if several nodes name it, and returns its name."""
        array = values.detach().numpy().astype(np.float32)
        self.weights[name] = numpy_helper.from_array(array, name)
        return name

    def node(self, step: Step, operator: str, weights: list[str], attributes: Attributes) -> None:
        """Appends a node that reads the step's inputs, then the weights."""
        inputs = [*step.inputs, *weights]
        outputs = [self.renamed.get(step.name, step.name)]
        node = helper.make_node(operator, inputs, outputs, name=step.name, **attributes)
        self.nodes.append(node)
