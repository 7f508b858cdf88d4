// Writes the parts of a message in the encoding of Protocol Buffers. Unit tests of `model` include this file, too.

/// A number.
pub fn number(value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = value;
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

/// A field with a content.
pub fn field(field: u64, content: &[u8]) -> Vec<u8> {
    [&number(field << 3 | 2), &number(content.len() as u64), content].concat()
}
