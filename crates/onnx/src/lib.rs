//! Esker's graphs to ONNX files and back.
