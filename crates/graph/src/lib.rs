//! Esker's graph: IR, recorder, passes and execution without a tape.
