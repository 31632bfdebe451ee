"""Answers over gRPC from an exported bundle: ONNX Runtime, FAISS, numpy; no torch."""

import os

# ONNX Runtime reports to its maker unless it is told not to before it is loaded. A user who wants
# the reports sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
