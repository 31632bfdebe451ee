"""The query encoder as an ONNX graph."""
