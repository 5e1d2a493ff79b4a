//! Reads the tables of `tests/vectors`: lines of `name | meaning | hex | origin`, `#` for comments.
//!
//! One table serves tests of decoding, tests of encoding, and fuzzing. Test code, not part of the library.

/// One line of a table.
#[derive(Clone, Debug)]
pub(crate) struct Vector {
    /// Unique name. A name with `~` in front marks bytes that we read but never write.
    pub name: String,
    /// The value in readable form.
    pub meaning: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Vector {
    /// Whether encoding the value must give the same bytes.
    pub(crate) fn two_way(&self) -> bool {
        !self.name.starts_with('~')
    }
}

/// All lines of a table; panics on a malformed one. Only text between ` | ` is split, so meanings may hold a bar.
pub(crate) fn table(text: &str) -> Vec<Vector> {
    let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split(" | ").map(str::trim).collect();
            assert_eq!(fields.len(), 4, "name | meaning | hex | origin: {line}");
            Vector { name: fields[0].to_owned(), meaning: fields[1].to_owned(), bytes: bytes(fields[2]) }
        })
        .collect()
}

/// Bytes of a hex text; spaces are ignored.
pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    assert!(
        digits.len() == hex.chars().filter(|digit| !digit.is_whitespace()).count() && digits.len().is_multiple_of(2),
        "not pairs of hex digits: {hex}"
    );
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).expect("two hex digits are a byte")).collect()
}
