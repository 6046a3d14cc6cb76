//! Where NVIDIA's libraries lie.
