//! Esker's user-facing tensor: dispatch, the tape, parameters and grad modes.
