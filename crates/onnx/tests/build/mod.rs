//! Protobuf by hand, so that files can be as broken as one likes.
#![allow(dead_code)]

/// A field with its tag.
#[derive(Clone, Debug)]
pub(crate) struct Field(pub(crate) Vec<u8>);

fn varint(mut n: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out
}

pub(crate) fn raw(tag: u32, bytes: &[u8]) -> Field {
    Field([varint(u64::from(tag << 3 | 2)), varint(bytes.len() as u64), bytes.to_vec()].concat())
}

pub(crate) fn int(tag: u32, n: i64) -> Field {
    Field([varint(u64::from(tag << 3)), varint(n as u64)].concat())
}

pub(crate) fn text(tag: u32, s: &str) -> Field {
    raw(tag, s.as_bytes())
}

pub(crate) fn message(tag: u32, fields: &[Field]) -> Field {
    raw(tag, &fields.iter().flat_map(|f| f.0.clone()).collect::<Vec<_>>())
}

pub(crate) fn node(op: &str, inputs: &[&str], outputs: &[&str], attrs: &[Field]) -> Field {
    let mut fields: Vec<Field> = inputs.iter().map(|s| text(1, s)).collect();
    fields.extend(outputs.iter().map(|s| text(2, s)));
    fields.push(text(4, op));
    fields.extend_from_slice(attrs);
    message(1, &fields)
}

pub(crate) fn attr_ints(name: &str, values: &[i64]) -> Field {
    let mut fields = vec![text(1, name), int(20, 7)];
    fields.extend(values.iter().map(|&n| int(8, n)));
    message(5, &fields)
}

pub(crate) fn initializer(name: &str, dtype: i64, dims: &[i64], data: &[u8]) -> Field {
    let mut fields: Vec<Field> = dims.iter().map(|&n| int(1, n)).collect();
    fields.extend([int(2, dtype), text(8, name), raw(9, data)]);
    message(5, &fields)
}

pub(crate) fn input(name: &str, dtype: i64, dims: &[i64]) -> Field {
    let dims: Vec<Field> = dims.iter().map(|&n| message(1, &[int(1, n)])).collect();
    let tensor = message(1, &[int(1, dtype), message(2, &dims)]);
    message(11, &[text(1, name), message(2, &[tensor])])
}

/// A whole file.
pub(crate) fn file(opset: i64, graph: &[Field]) -> Vec<u8> {
    [int(1, 8).0, message(8, &[int(2, opset)]).0, message(7, graph).0].concat()
}
