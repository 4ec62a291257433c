"""The session encoder of a fitted metric model as an ONNX graph: for other programs, and for the service."""
