"""ONNX -> Graph: untrusted files, sizes, lifts to one opset, dialects."""
