"""Graph -> ONNX -> ONNX Runtime: the reference for numbers, and what calibration measures with."""
