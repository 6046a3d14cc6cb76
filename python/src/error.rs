//! Esker's errors as Python exceptions: a class for each kind, derived from the builtin that Python users would catch.

use std::cell::RefCell;

use esker::{Error, ErrorKind};
use pyo3::exceptions::{PyIndexError, PyMemoryError, PyOSError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;

macro_rules! exceptions {
    ($($Kind:ident $Name:ident $Base:ident $doc:literal;)*) => {
        $(pyo3::create_exception!(esker, $Name, $Base, $doc);)*

        fn exception(kind: &ErrorKind, sentence: String) -> PyErr {
            match kind {
                $(ErrorKind::$Kind(_) => $Name::new_err(sentence),)*
                _ => PyRuntimeError::new_err(sentence),
            }
        }

        /// Adds the classes to the module.
        pub(crate) fn add(m: &Bound<'_, PyModule>) -> PyResult<()> {
            $(m.add(stringify!($Name), m.py().get_type::<$Name>())?;)*
            Ok(())
        }
    };
}

exceptions! {
    Shape ShapeError PyValueError "Shapes do not fit the operation.";
    DType DTypeError PyTypeError "A dtype, or a kind of argument, that the operation does not take.";
    Device DeviceError PyRuntimeError "Operands live on different devices, or on the wrong one.";
    Dim DimError PyIndexError "A dimension, index or rank out of bounds.";
    Unavailable UnavailableError PyRuntimeError "Something that this machine or build does not have.";
    OutOfMemory OutOfMemoryError PyMemoryError "An allocation failed.";
    Kernel KernelError PyRuntimeError "An operation refused its input's values.";
    Autograd AutogradError PyRuntimeError "Misuse of the tape.";
    Capture CaptureError PyRuntimeError "Something that cannot be captured into a graph.";
    Format FormatError PyValueError "A file or a state that is not what it should be.";
    Io IoError PyOSError "The operating system refused.";
}

thread_local! {
    /// An exception on its way through Rust code that called Python.
    static PENDING: RefCell<Option<(String, PyErr)>> = const { RefCell::new(None) };
}

/// An exception as an error that [`raise`] turns into the same exception again, with its traceback.
pub(crate) fn carry(py: Python<'_>, exception: PyErr) -> Error {
    let sentence = exception.value(py).to_string();
    PENDING.set(Some((sentence.clone(), exception)));
    Error::autograd(sentence)
}

/// The exception for an error.
#[cold]
pub(crate) fn raise(error: Error) -> PyErr {
    let sentence = without_rust_lines(&error.to_string());
    match PENDING.take() {
        Some((pending, exception)) if sentence.ends_with(&pending) => exception,
        _ => exception(error.kind(), sentence),
    }
}

/// The sentence without the lines of this crate, which tell a Python user nothing: the traceback has his own.
fn without_rust_lines(sentence: &str) -> String {
    let mut rest = sentence;
    let mut out = String::new();
    for open in [" (called at ", "; called at ", " (at "] {
        if !out.is_empty() {
            continue;
        }
        while let Some((head, tail)) = rest.split_once(open) {
            let end = tail.find(|c: char| c == ')' || c.is_whitespace()).unwrap_or(tail.len());
            out.push_str(head);
            rest = if open.starts_with(" (") { tail.get(end + 1..).unwrap_or("") } else { &tail[end..] };
        }
    }
    out + rest
}

/// `Result` with Esker's error to one with an exception.
pub(crate) trait Raise<T> {
    /// The same with the exception for the error.
    fn py(self) -> PyResult<T>;
}

impl<T> Raise<T> for esker::Result<T> {
    #[inline]
    fn py(self) -> PyResult<T> {
        self.map_err(raise)
    }
}

/// A `TypeError` of one sentence.
#[cold]
pub(crate) fn type_error(sentence: impl Into<String>) -> PyErr {
    PyTypeError::new_err(sentence.into())
}

/// A `ValueError` of one sentence.
#[cold]
pub(crate) fn value_error(sentence: impl Into<String>) -> PyErr {
    PyValueError::new_err(sentence.into())
}

/// The name of an object's type, for sentences.
pub(crate) fn type_name(obj: &Bound<'_, PyAny>) -> String {
    obj.get_type().name().map_or_else(|_| "an object".to_owned(), |n| n.to_string())
}
