//! What every operation of Esker means: the op table, its rules and kernel families.
