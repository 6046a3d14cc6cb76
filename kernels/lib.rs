//! CUDA kernels as text: compiled where they run, for the GPU that is there.
//!
//! A [`Source`] is one `.cu` file. What varies (types, operations) it takes from preprocessor names that the compiler is
//! given, so that one text serves every dtype. [`COMMON`] goes in front of each.

/// A kernel file.
#[derive(Debug)]
pub struct Source {
    /// The file's name, for messages of the compiler.
    pub name: &'static str,
    /// What is in it.
    pub text: &'static str,
}

macro_rules! sources {
    ($($(#[$doc:meta])* $NAME:ident $file:literal;)*) => {
        $($(#[$doc])* pub const $NAME: &Source = &Source { name: $file, text: include_str!($file) };)*

        /// All kernel files.
        pub const ALL: &[&Source] = &[$($NAME),*];
    };
}

/// Types, loads and stores, strided views, sums of a block: what every kernel begins with.
pub const COMMON: &Source = &Source { name: "common.cuh", text: include_str!("common.cuh") };

/// The scalar vocabulary, in front of elementwise kernels that are written from expressions.
pub const MAP: &Source = &Source { name: "map.cuh", text: include_str!("map.cuh") };

sources! {
    /// Copies and conversions between any layouts.
    COPY "copy.cu";
    /// Matrix products of types that the vendor's library does not know.
    MATMUL "matmul.cu";
    /// Rows picked by index, and rows put side by side.
    GATHER "gather.cu";
    /// Elements picked and put one by one.
    ELEMENTS "elements.cu";
    /// Positions sorted by the row that an index names.
    BUCKET "bucket.cu";
    /// Rows added up by where they go.
    SCATTER "scatter.cu";
    /// Stable sorting of long lines of keys.
    RADIX "radix.cu";
    /// Order along lines.
    SORT "sort.cu";
    /// Fills, ranges, random numbers, dropout.
    RANDOM "random.cu";
    /// Pooling of windows.
    POOL "pool.cu";
    /// Convolutions as products of windows.
    CONV "conv.cu";
    /// Folds of elements that lie one after the other.
    REDUCE_ROWS "reduce_rows.cu";
    /// Folds of rows, column by column.
    REDUCE_COLUMNS "reduce_columns.cu";
    /// The position of an extreme.
    ARG_REDUCE "arg_reduce.cu";
    /// Running folds.
    SCAN "scan.cu";
    /// Kernels over rows.
    ROW "row.cu";
    /// Normalisation of channels.
    NORM "norm.cu";
    /// Steps of optimisers.
    UPDATE "update.cu";
}
