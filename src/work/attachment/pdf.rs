//! How many pages a PDF has, as far as that can be told without reading it whole.
//!
//! The root of the page tree says it (`/Type /Pages ... /Count 12`, PDF 32000-1, 7.7.3.2). It stands in the
//! open, or within a compressed object stream (7.5.7). What cannot be told is left to the provider: this
//! is for refusing what certainly has too many.

use std::io::Read;

use flate2::read::ZlibDecoder;
use memchr::memmem;

/// Bytes of one object stream that are looked at, unpacked.
const STREAM_MAX: u64 = 4 << 20;

/// The pages of a PDF; `None` if nothing says so.
pub(super) fn pages(pdf: &[u8]) -> Option<u64> {
    let open = count_in(pdf);
    let packed = memmem::find_iter(pdf, b"/ObjStm").filter_map(|at| {
        let stream = at + memmem::find(&pdf[at..], b"stream")? + b"stream".len();
        let body = pdf[stream..].trim_ascii_start();
        let mut text = Vec::new();
        // A stream that is cut or damaged still has a beginning.
        let _ = ZlibDecoder::new(body)
            .take(STREAM_MAX)
            .read_to_end(&mut text);
        count_in(&text)
    });
    open.into_iter().chain(packed).max()
}

/// Whether a PDF is encrypted: its trailer says how then, in a dictionary or where that one is (7.6.1).
pub(super) fn is_encrypted(pdf: &[u8]) -> bool {
    const NAME: &[u8] = b"/Encrypt";
    memmem::find_iter(pdf, NAME).any(|at| {
        let value = pdf[at + NAME.len()..].trim_ascii_start();
        value.starts_with(b"<<") || is_reference(value)
    })
}

/// Whether `text` begins with two numbers and an `R`.
fn is_reference(text: &[u8]) -> bool {
    let number = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let first = number(text);
    let rest = text[first..].trim_ascii_start();
    let second = number(rest);
    first > 0 && second > 0 && rest[second..].trim_ascii_start().starts_with(b"R")
}

/// The largest `/Count` of a node of the page tree: that of its root.
fn count_in(text: &[u8]) -> Option<u64> {
    let nodes = memmem::find_iter(text, b"/Pages").filter(|at| is_type(&text[..*at]));
    let counts = nodes.filter_map(|at| {
        let start = memmem::rfind(&text[..at], b"<<")?;
        let end = at + memmem::find(&text[at..], b">>").unwrap_or(text.len() - at);
        let dictionary = &text[start..end];
        let count = memmem::find(dictionary, b"/Count")? + b"/Count".len();
        let digits = dictionary[count..].trim_ascii_start();
        let length = digits
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        std::str::from_utf8(&digits[..length]).ok()?.parse().ok()
    });
    counts.max()
}

/// Whether what stands before a name says that it is a type.
fn is_type(before: &[u8]) -> bool {
    before.trim_ascii_end().ends_with(b"/Type")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;

    use super::*;

    #[test]
    fn pages_are_counted_in_the_open_and_in_object_streams() {
        let open = b"%PDF-1.4\n1 0 obj\n<</Type/Catalog/Pages 2 0 R>>\nendobj\n\
                     2 0 obj\n<< /Type /Pages /Kids [3 0 R] /Count 2000 >>\nendobj\n\
                     3 0 obj\n<</Type /Pages /Parent 2 0 R /Count 7>>\nendobj";
        assert_eq!(pages(open), Some(2000));
        let mut packed = ZlibEncoder::new(Vec::new(), Compression::default());
        packed
            .write_all(b"2 0 3 50 <</Count 12/Kids[3 0 R]/Type/Pages>> <</Type/Page>>")
            .expect("packed");
        let mut pdf =
            b"%PDF-1.7\n5 0 obj\n<</Type/ObjStm/N 2/Filter/FlateDecode>>stream\r\n".to_vec();
        pdf.extend(packed.finish().expect("packed"));
        assert_eq!(pages(&pdf), Some(12));
        pdf.truncate(pdf.len() - 3);
        assert_eq!(
            pages(&pdf),
            Some(12),
            "a stream that is cut has a beginning"
        );
        assert_eq!(pages(b"%PDF-1.7 /Type /Page /Pages 3 /Count"), None);
    }

    #[test]
    fn what_is_encrypted_says_so_in_its_trailer() {
        for (pdf, encrypted) in [
            (&b"trailer <</Size 5/Encrypt 4 0 R/Root 1 0 R>>"[..], true),
            (b"trailer\n<<\n/Encrypt\n12 0\nR >>", true),
            (b"trailer <</Encrypt<</Filter/Standard>> >>", true),
            (b"trailer <</Size 5/Root 1 0 R>>", false),
            (b"4 0 obj <</EncryptMetadata false>>", false),
            (b"(how to /Encrypt a file) Tj", false),
            (b"/Encrypt 12", false),
        ] {
            assert_eq!(is_encrypted(pdf), encrypted, "{pdf:?}");
        }
    }
}
