//! One error type for the whole framework: one machine word, one sentence.

use std::fmt;

/// What went wrong, by kind; each carries one sentence saying what was given and what was needed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Shapes do not fit the operation.
    Shape(String),
    /// A dtype the operation does not take.
    DType(String),
    /// Operands live on different devices, or on the wrong one.
    Device(String),
    /// A dimension index, range or rank out of bounds.
    Dim(String),
    /// Something that this machine or build does not have, with the reason.
    Unavailable(String),
    /// An allocation failed even after the cache was dropped.
    OutOfMemory(String),
    /// A kernel refused its input values (for example an integer division by zero).
    Kernel(String),
    /// Misuse of the tape: no gradient, spent graph, no parameter upstream.
    Autograd(String),
    /// Something that cannot be captured into a graph.
    Capture(String),
    /// A file that is not what it should be.
    Format(String),
    /// The operating system refused.
    Io(String),
}

impl ErrorKind {
    /// The kind's name, as the tests and the Python mapping use it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Shape(_) => "Shape",
            Self::DType(_) => "DType",
            Self::Device(_) => "Device",
            Self::Dim(_) => "Dim",
            Self::Unavailable(_) => "Unavailable",
            Self::OutOfMemory(_) => "OutOfMemory",
            Self::Kernel(_) => "Kernel",
            Self::Autograd(_) => "Autograd",
            Self::Capture(_) => "Capture",
            Self::Format(_) => "Format",
            Self::Io(_) => "Io",
        }
    }

    fn message_mut(&mut self) -> &mut String {
        match self {
            Self::Shape(m)
            | Self::DType(m)
            | Self::Device(m)
            | Self::Dim(m)
            | Self::Unavailable(m)
            | Self::OutOfMemory(m)
            | Self::Kernel(m)
            | Self::Autograd(m)
            | Self::Capture(m)
            | Self::Format(m)
            | Self::Io(m) => m,
        }
    }
}

/// The error of every fallible call: one word wide, so that `Result<T>` stays small.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<ErrorKind>);

/// `std::result::Result` with Esker's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

macro_rules! constructors {
    ($($name:ident => $kind:ident),* $(,)?) => {$(
        #[doc = concat!("An error of kind [`ErrorKind::", stringify!($kind), "`].")]
        #[cold]
        pub fn $name(message: impl Into<String>) -> Self {
            Self(Box::new(ErrorKind::$kind(message.into())))
        }
    )*};
}

impl Error {
    constructors! {
        shape => Shape, dtype => DType, device => Device, dim => Dim, unavailable => Unavailable,
        out_of_memory => OutOfMemory, kernel => Kernel, autograd => Autograd, capture => Capture,
        format => Format, io => Io,
    }

    /// The kind, with its sentence.
    pub fn kind(&self) -> &ErrorKind {
        &self.0
    }

    /// The same error with `prefix` put before its sentence, as `prefix: sentence` (the op's name).
    #[cold]
    pub fn prefix(mut self, prefix: &str) -> Self {
        let message = self.0.message_mut();
        *message = format!("{prefix}: {message}");
        self
    }

    /// The same error with where it happened put behind its sentence, as `sentence (in path)`.
    /// Nested modules extend the path from the inside out: `encoder` then `encoder.3`.
    #[cold]
    pub fn within(mut self, path: &str) -> Self {
        let message = self.0.message_mut();
        *message = match message.strip_suffix(')').and_then(|m| m.rsplit_once(" (in ")) {
            Some((head, inner)) => format!("{head} (in {path}.{inner})"),
            None => format!("{message} (in {path})"),
        };
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kind = (*self.0).clone();
        f.write_str(kind.message_mut())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}Error: {self}", self.0.name())
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(e: std::io::Error) -> Self {
        Self::io(e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_one_word_and_extends_paths_outwards() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
        let e = Error::shape("sizes differ").prefix("matmul").within("fc1").within("encoder");
        assert_eq!(e.to_string(), "matmul: sizes differ (in encoder.fc1)");
        assert_eq!(format!("{e:?}"), "ShapeError: matmul: sizes differ (in encoder.fc1)");
    }
}
