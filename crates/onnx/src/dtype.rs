//! Dtypes by their `TensorProto.DataType` numbers.

use esker_tensor::DType;

const CODES: [(DType, i32); 10] = [
    (DType::F32, 1),
    (DType::U8, 2),
    (DType::I8, 3),
    (DType::I16, 5),
    (DType::I32, 6),
    (DType::I64, 7),
    (DType::Bool, 9),
    (DType::F16, 10),
    (DType::F64, 11),
    (DType::BF16, 16),
];

/// The number of a dtype.
pub(crate) fn code(dtype: DType) -> i32 {
    CODES.iter().find(|(d, _)| *d == dtype).map_or(0, |(_, code)| *code)
}

/// The dtype of a number; `None` for those that Esker lacks.
pub(crate) fn from_code(code: i32) -> Option<DType> {
    CODES.iter().find(|(_, c)| *c == code).map(|(d, _)| *d)
}
