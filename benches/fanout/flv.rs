//! The part of HTTP-FLV that a player here needs: a request, an answer in chunks, and its tags. It shares no code with
//! the library, and keeps no bodies.

/// Bytes of a body that a reader keeps.
const KEPT_BYTES: usize = 64;

/// Bytes before and behind a tag's body, and of the file's header.
const HEAD_BYTES: usize = 11;
const TAIL_BYTES: usize = 4;
const FILE_BYTES: usize = 13;

/// The request for a stream.
pub(crate) fn request(key: &str) -> Vec<u8> {
    format!("GET /live/{key}.flv HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").into_bytes()
}

/// The part of the answer that comes next.
enum Part {
    Head,
    /// The length of a chunk.
    Line,
    /// This many bytes of a chunk, followed by the end of its line.
    Chunk(usize),
    Behind(usize),
}

/// Reads an answer and reports each tag.
pub(crate) struct Reader {
    part: Part,
    /// The head, or a line.
    text: Vec<u8>,
    /// The tag: its head and the first bytes of its body, how many bytes it has, and how many have come.
    tag: Vec<u8>,
    len: usize,
    come: usize,
}

impl Reader {
    pub(crate) fn new() -> Self {
        Self { part: Part::Head, text: Vec::new(), tag: Vec::new(), len: FILE_BYTES, come: 0 }
    }

    /// Takes all of `input`; `on` gets the type and the first bytes of each tag.
    pub(crate) fn read(&mut self, mut input: &[u8], on: &mut impl FnMut(u8, &[u8])) {
        while let Some((&first, rest)) = input.split_first() {
            match self.part {
                Part::Head | Part::Line => {
                    self.text.push(first);
                    input = rest;
                    self.end_text();
                }
                Part::Chunk(left) => {
                    let (bytes, rest) = input.split_at(left.min(input.len()));
                    input = rest;
                    self.part = if bytes.len() == left { Part::Behind(2) } else { Part::Chunk(left - bytes.len()) };
                    self.read_tags(bytes, on);
                }
                Part::Behind(left) => {
                    input = rest;
                    self.part = if left == 1 { Part::Line } else { Part::Behind(left - 1) };
                }
            }
        }
    }

    fn end_text(&mut self) {
        match self.part {
            Part::Head if self.text.ends_with(b"\r\n\r\n") => {
                assert!(self.text.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&self.text));
                self.part = Part::Line;
            }
            Part::Line if self.text.ends_with(b"\r\n") => {
                let digits = std::str::from_utf8(&self.text[..self.text.len() - 2]).expect("digits");
                self.part = Part::Chunk(usize::from_str_radix(digits, 16).expect("digits"));
            }
            _ => return,
        }
        self.text.clear();
    }

    fn read_tags(&mut self, mut bytes: &[u8], on: &mut impl FnMut(u8, &[u8])) {
        while !bytes.is_empty() {
            let n = (self.len - self.come).min(bytes.len());
            let keep = n.min((HEAD_BYTES + KEPT_BYTES).saturating_sub(self.tag.len()));
            self.tag.extend_from_slice(&bytes[..keep]);
            self.come += n;
            bytes = &bytes[n..];
            if self.come < self.len {
                continue;
            }
            if self.len == HEAD_BYTES {
                // Only the head has come; now the body's length is known.
                self.len += u32::from_be_bytes([0, self.tag[1], self.tag[2], self.tag[3]]) as usize + TAIL_BYTES;
                continue;
            }
            if self.len > FILE_BYTES {
                let body = (self.len - HEAD_BYTES - TAIL_BYTES).min(KEPT_BYTES);
                on(self.tag[0], &self.tag[HEAD_BYTES..][..body]);
            }
            (self.len, self.come) = (HEAD_BYTES, 0);
            self.tag.clear();
        }
    }
}
