"""Graph -> ONNX -> ONNX Runtime: the judge of numbers, and the eyes of calibration."""
