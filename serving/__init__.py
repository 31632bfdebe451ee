"""Answers over gRPC from an exported bundle: ONNX Runtime, FAISS, numpy; no torch."""
