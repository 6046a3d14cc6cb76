//! Esker: a deep-learning framework that trains and ships.
