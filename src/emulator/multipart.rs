//! `multipart/form-data` while it streams in.

use memchr::memmem::{self, Finder};

use super::problem::Problem;

/// The longest head of a part.
const HEAD_MAX: usize = 16 * 1024;

/// What is found in a form.
#[derive(Debug, PartialEq)]
pub(super) enum Event<'a> {
    /// A part begins.
    Part {
        name: &'a str,
        filename: Option<&'a str>,
    },
    /// Some of its bytes.
    Data(&'a [u8]),
}

/// What is done with each.
pub(super) type Each<'a> = &'a mut dyn FnMut(Event<'_>) -> Result<(), Problem>;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Preamble,
    /// After a boundary: two bytes say whether a part follows.
    Boundary,
    Head,
    Data,
    End,
}

/// Reads a form, chunk by chunk.
#[derive(Debug)]
pub(super) struct Multipart {
    boundary: Finder<'static>,
    buffer: Vec<u8>,
    place: Place,
}

impl Multipart {
    /// A reader for a body with this `content-type`.
    pub(super) fn new(content_type: &str) -> Option<Self> {
        let (kind, rest) = content_type.split_once(';')?;
        if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
            return None;
        }
        let boundary = parameter(rest, "boundary")?;
        let boundary = Finder::new(&format!("\r\n--{boundary}")).into_owned();
        // The first boundary has no line before it; with this one it looks like the others.
        Some(Multipart {
            boundary,
            buffer: b"\r\n".to_vec(),
            place: Place::Preamble,
        })
    }

    pub(super) fn feed(&mut self, chunk: &[u8], each: Each<'_>) -> Result<(), Problem> {
        self.buffer.extend_from_slice(chunk);
        let buffer = std::mem::take(&mut self.buffer);
        let mut used = 0;
        while let Some(more) = self.step(&buffer[used..], each)? {
            used += more;
        }
        self.buffer = buffer;
        self.buffer.drain(..used.min(self.buffer.len()));
        self.give(each)
    }

    /// Hands out data that cannot be part of a boundary.
    fn give(&mut self, each: Each<'_>) -> Result<(), Problem> {
        let tail = self.boundary.needle().len() - 1;
        let free = self.buffer.len().saturating_sub(tail);
        if free == 0 || !matches!(self.place, Place::Data | Place::Preamble) {
            return Ok(());
        }
        if self.place == Place::Data {
            each(Event::Data(&self.buffer[..free]))?;
        }
        self.buffer.drain(..free);
        Ok(())
    }

    /// Takes one thing off the front; nothing if more bytes are needed.
    fn step(&mut self, bytes: &[u8], each: Each<'_>) -> Result<Option<usize>, Problem> {
        match self.place {
            Place::Preamble | Place::Data => {
                let Some(at) = self.boundary.find(bytes) else {
                    return Ok(None);
                };
                if self.place == Place::Data && at > 0 {
                    each(Event::Data(&bytes[..at]))?;
                }
                self.place = Place::Boundary;
                Ok(Some(at + self.boundary.needle().len()))
            }
            Place::Boundary => {
                let Some(two) = bytes.first_chunk::<2>() else {
                    return Ok(None);
                };
                self.place = if two == b"--" {
                    Place::End
                } else {
                    Place::Head
                };
                // The line's end stays: a head without lines ends with two of them as well.
                Ok(Some(if two == b"--" { 2 } else { 0 }))
            }
            Place::Head => {
                let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
                    return if bytes.len() > HEAD_MAX {
                        Err(broken())
                    } else {
                        Ok(None)
                    };
                };
                let head = std::str::from_utf8(&bytes[..end]).map_err(|_| broken())?;
                let (name, filename) = disposition(head).ok_or_else(broken)?;
                each(Event::Part { name, filename })?;
                self.place = Place::Data;
                // An empty part's boundary begins with the head's last line end.
                Ok(Some(end + 4))
            }
            Place::End => Ok(None),
        }
    }

    /// Whether the form came to its end.
    pub(super) fn finish(&self) -> Result<(), Problem> {
        if self.place == Place::End {
            Ok(())
        } else {
            Err(broken())
        }
    }
}

fn broken() -> Problem {
    Problem::invalid("Could not parse multipart form")
}

fn disposition(head: &str) -> Option<(&str, Option<&str>)> {
    let line = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim()
            .eq_ignore_ascii_case("content-disposition")
            .then_some(value)
    })?;
    Some((parameter(line, "name")?, parameter(line, "filename")))
}

/// The value of `name=value` or `name="value"` among parameters.
fn parameter<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split(';').find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.trim()
            .eq_ignore_ascii_case(name)
            .then(|| value.trim().trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, file name, bytes.
    type Part = (String, Option<String>, Vec<u8>);

    const TYPE: &str = "multipart/form-data; boundary=\"xYz\"";

    fn parts(body: &[u8], chunk: usize) -> Result<Vec<Part>, Problem> {
        let mut found: Vec<Part> = Vec::new();
        let mut form = Multipart::new(TYPE).expect("a form");
        for chunk in body.chunks(chunk) {
            form.feed(chunk, &mut |event| {
                match event {
                    Event::Part { name, filename } => {
                        found.push((name.into(), filename.map(Into::into), Vec::new()));
                    }
                    Event::Data(bytes) => {
                        if let Some((_, _, data)) = found.last_mut() {
                            data.extend_from_slice(bytes);
                        }
                    }
                }
                Ok(())
            })?;
        }
        form.finish().map(|()| found)
    }

    #[test]
    fn parts_come_out_whole_wherever_the_chunks_are_cut() {
        let data = b"{\"a\":1}\r\n--xY\r\n\r\n-\n".as_slice();
        let mut body =
            b"--xYz\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch".to_vec();
        body.extend_from_slice(b"\r\n--xYz\r\ncontent-disposition: form-data; name=\"file\"; ");
        body.extend_from_slice(b"filename=\"a.jsonl\"\r\nContent-Type: application/jsonl\r\n\r\n");
        body.extend_from_slice(data);
        body.extend_from_slice(b"\r\n--xYz--\r\n");
        for chunk in 1..body.len() {
            let found = parts(&body, chunk).expect("a whole form");
            assert_eq!(found.len(), 2);
            assert_eq!(found[0], ("purpose".into(), None, b"batch".to_vec()));
            assert_eq!(
                found[1],
                ("file".into(), Some("a.jsonl".into()), data.to_vec())
            );
        }
        assert!(parts(&body[..body.len() - 10], 7).is_err());
    }

    #[test]
    fn only_forms_are_read() {
        assert!(Multipart::new("application/json; boundary=x").is_none());
        assert!(Multipart::new("multipart/form-data").is_none());
    }
}
