//! Cuts a stream of text into chunks of whole records.
//!
//! A chunk can then be parsed on any core, and knows its first line. Cutting
//! needs one look at each byte, which is far cheaper than parsing; and since a
//! quoted CSV value may contain line breaks, only reading from the beginning
//! tells where a record ends.

use std::io::{self, Read};

/// Longest record. Longer ones are a sign of a missing line break or quote.
pub(super) const RECORD_LIMIT_BYTES: usize = 16 << 20;

/// How records are told apart.
#[derive(Clone, Copy, Debug)]
pub(super) enum Framing {
    /// Every line is a record.
    Lines,
    /// RFC 4180: a quoted value may contain line breaks.
    Csv { delimiter: u8, quote: u8, comment: Option<u8> },
}

/// Whole records.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) bytes: Vec<u8>,
    /// Line of the file at which the chunk starts, from 1.
    pub(super) first_line: u64,
}

/// Why no chunk could be cut.
#[derive(Debug)]
pub(super) enum ChunkError {
    Read(io::Error),
    /// A record is longer than [`RECORD_LIMIT_BYTES`].
    RecordTooLong {
        line: u64,
    },
}

/// What the byte before means for the next one.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    RecordStart,
    ValueStart,
    Plain,
    Quoted,
    /// Behind a quote in a quoted value: its end, or half of an escaped quote.
    QuoteInQuoted,
    Comment,
}

/// Reads chunks.
pub(super) struct Chunks<R> {
    reader: R,
    framing: Framing,
    target_bytes: usize,
    /// What was read and not yet given away.
    buffer: Vec<u8>,
    /// How much of the buffer has been looked at.
    scanned: usize,
    state: State,
    next_line: u64,
    ended: bool,
}

impl<R: Read> Chunks<R> {
    /// Chunks of about `target_bytes`, or of one record if that is longer.
    pub(super) fn new(reader: R, framing: Framing, target_bytes: usize) -> Self {
        Self {
            reader,
            framing,
            target_bytes,
            buffer: Vec::new(),
            scanned: 0,
            state: State::RecordStart,
            next_line: 1,
            ended: false,
        }
    }

    /// The next chunk; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Chunk>, ChunkError> {
        let mut wanted = self.target_bytes;
        loop {
            self.fill(wanted).map_err(ChunkError::Read)?;
            if self.next_line == 1 && self.scanned == 0 && self.buffer.starts_with(b"\xef\xbb\xbf") {
                self.buffer.drain(..3);
            }
            let record_end = self.scan();
            // The last record need not end in a line break.
            if self.ended {
                let end = self.buffer.len();
                return Ok((end > 0).then(|| self.cut(end)));
            }
            if let Some(end) = record_end {
                return Ok(Some(self.cut(end)));
            }
            if self.buffer.len() >= RECORD_LIMIT_BYTES {
                return Err(ChunkError::RecordTooLong { line: self.next_line });
            }
            wanted = (self.buffer.len() * 2).min(RECORD_LIMIT_BYTES);
        }
    }

    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        if self.ended || self.buffer.len() >= wanted {
            return Ok(());
        }
        let missing = (wanted - self.buffer.len()) as u64;
        self.buffer.reserve_exact(wanted - self.buffer.len());
        let read = self.reader.by_ref().take(missing).read_to_end(&mut self.buffer)?;
        self.ended = (read as u64) < missing;
        Ok(())
    }

    fn cut(&mut self, end: usize) -> Chunk {
        let rest = self.buffer[end..].to_vec();
        let mut bytes = std::mem::replace(&mut self.buffer, rest);
        bytes.truncate(end);
        self.scanned = self.scanned.saturating_sub(end);
        let first_line = self.next_line;
        self.next_line += memchr::memchr_iter(b'\n', &bytes).count() as u64;
        Chunk { bytes, first_line }
    }

    /// Looks at the new bytes; gives the end of the last whole record.
    fn scan(&mut self) -> Option<usize> {
        let start = std::mem::replace(&mut self.scanned, self.buffer.len());
        let new = &self.buffer[start..];
        let (delimiter, quote, comment) = match self.framing {
            Framing::Lines => return memchr::memrchr(b'\n', new).map(|at| start + at + 1),
            Framing::Csv { delimiter, quote, comment } => (delimiter, quote, comment),
        };
        // Without quotes and comments every line break ends a record, unless
        // a value that was quoted before still goes on.
        let unquoted = !matches!(self.state, State::Quoted | State::QuoteInQuoted | State::Comment);
        if unquoted && comment.is_none() && memchr::memchr(quote, new).is_none() {
            if let Some(last) = new.last() {
                self.state = match *last {
                    b'\n' | b'\r' => State::RecordStart,
                    byte if byte == delimiter => State::ValueStart,
                    _ => State::Plain,
                };
            }
            return memchr::memrchr(b'\n', new).map(|at| start + at + 1);
        }
        let mut state = self.state;
        let mut end = None;
        for (at, &byte) in new.iter().enumerate() {
            state = match state {
                State::Quoted if byte == quote => State::QuoteInQuoted,
                State::Quoted => State::Quoted,
                State::QuoteInQuoted if byte == quote => State::Quoted,
                State::Comment if byte != b'\n' => State::Comment,
                State::RecordStart if Some(byte) == comment => State::Comment,
                State::RecordStart | State::ValueStart if byte == quote => State::Quoted,
                _ if byte == b'\n' => {
                    end = Some(start + at + 1);
                    State::RecordStart
                }
                _ if byte == b'\r' => State::RecordStart,
                _ if byte == delimiter => State::ValueStart,
                _ => State::Plain,
            };
        }
        self.state = state;
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV: Framing = Framing::Csv { delimiter: b',', quote: b'"', comment: None };

    fn chunks(text: &str, framing: Framing, target: usize) -> Vec<(String, u64)> {
        let mut chunks = Chunks::new(text.as_bytes(), framing, target);
        let mut found = Vec::new();
        while let Some(chunk) = chunks.next().expect("chunk") {
            found.push((String::from_utf8(chunk.bytes).expect("text"), chunk.first_line));
        }
        found
    }

    #[test]
    fn lines_stay_whole() {
        assert_eq!(
            chunks("ab\ncd\nef", Framing::Lines, 4),
            [("ab\n".into(), 1), ("cd\n".into(), 2), ("ef".into(), 3)]
        );
    }

    #[test]
    fn a_line_break_in_quotes_ends_no_record() {
        assert_eq!(
            chunks("a,\"x\ny\"\nb,\"\"\"\n\"\nc,5\" pipe\nd,e\n", CSV, 5),
            [
                ("a,\"x\ny\"\n".into(), 1),
                ("b,\"\"\"\n\"\n".into(), 3),
                ("c,5\" pipe\n".into(), 5),
                ("d,e\n".into(), 6)
            ]
        );
    }

    #[test]
    fn a_comment_may_contain_a_quote() {
        let framing = Framing::Csv { delimiter: b',', quote: b'"', comment: Some(b'#') };
        assert_eq!(chunks("# it\"s\na,b\n", framing, 7), [("# it\"s\n".into(), 1), ("a,b\n".into(), 2)]);
    }

    #[test]
    fn a_byte_order_mark_is_no_data() {
        assert_eq!(chunks("\u{feff}a\n", CSV, 100), [("a\n".into(), 1)]);
    }

    #[test]
    fn every_target_gives_the_same_bytes() {
        let text = "a,\"b\n\"\"c\",d\r\n\"\",x,y\n# no, comment\n1,2,\"3\n\n\"\n";
        for target in 1..text.len() + 2 {
            let joined: String = chunks(text, CSV, target).into_iter().map(|(part, _)| part).collect();
            assert_eq!(joined, text, "target {target}");
        }
    }

    #[test]
    fn an_endless_record_is_refused() {
        let mut chunks = Chunks::new(io::repeat(b'x'), Framing::Lines, 1 << 20);
        assert!(matches!(chunks.next(), Err(ChunkError::RecordTooLong { line: 1 })));
    }
}
