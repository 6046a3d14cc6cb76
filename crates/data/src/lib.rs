//! Esker's datasets, loaders and readers.
