//! Esker's kernel families on the CPU: SIMD by instruction set and the compute pool.
