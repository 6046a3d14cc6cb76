//! Esker's module tree: layers, losses, initialisers, optimisers, weight files.
