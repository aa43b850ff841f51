//! How a chunk's requests become the bytes of a body.
//!
//! All that the requests of a plan share is made once, as constant bytes around the two things that
//! differ: the custom id, and the row's text as a JSON string. Writing a request is three copies and
//! one escape.

use super::attachment::{Attachment, Content};
use super::escape::{escape, escaped_len};
use super::{CustomId, LineLimits, PartFrame};
use crate::base::Result;

/// The constant bytes of a body. The text stands between `after_id` and `after_text`, which bring
/// the quotes around it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Before the first request.
    pub open: Vec<u8>,
    /// A request's start, up to its custom id.
    pub before_id: Vec<u8>,
    /// From the custom id to the text.
    pub after_id: Vec<u8>,
    /// From the text to the request's end.
    pub after_text: Vec<u8>,
    /// Between two requests.
    pub between: Vec<u8>,
    /// After the last request.
    pub close: Vec<u8>,
    /// Where a request may be more than one text: what stands around each piece. The text's own quotes are
    /// not with its neighbours then.
    pub parts: Option<PartFrame>,
    /// Where a request on the wire carries several texts, each of them a request of ours: how many it may
    /// carry. See [`inputs`](super::inputs).
    pub inputs: Option<LineLimits>,
    /// What stands around the turns that follow the text where a question is asked again; `None` where
    /// nothing can follow.
    pub turns: Option<TurnFrame>,
}

/// The constant bytes around the turns that follow a row's own question: they stand between its text and
/// `after_text`, and bring the quotes around theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TurnFrame {
    /// From the text to the answer.
    pub before_answer: Vec<u8>,
    /// From the answer to what is said to it; that ends where the text would.
    pub before_message: Vec<u8>,
}

impl Frame {
    /// Bytes of a body of no request.
    #[must_use]
    pub fn base_len(&self) -> u64 {
        (self.open.len() + self.close.len()) as u64
    }

    /// The same for requests of several pieces.
    #[must_use]
    pub fn with_parts(mut self, parts: PartFrame) -> Self {
        // The quotes around the one text.
        self.after_id.pop();
        self.after_text.remove(0);
        if let Some(turns) = &mut self.turns {
            turns.before_answer.remove(0);
        }
        self.parts = Some(parts);
        self
    }

    /// Bytes between the text and `after_text`: of the turns that follow it.
    fn turns_len(&self, content: Content<'_>) -> u64 {
        let Some((turns, correction)) = self.turns.as_ref().zip(content.correction) else {
            return 0;
        };
        let fixed = turns.before_answer.len() + turns.before_message.len();
        // The quote after what is said last, where that after the text is not with its neighbours.
        let quote = usize::from(self.parts.is_some());
        let own = escaped_len(correction.answer) + escaped_len(correction.message);
        (fixed + quote) as u64 + own
    }

    /// Appends what stands between the text and `after_text`.
    fn write_turns(&self, content: Content<'_>, out: &mut Vec<u8>) {
        let Some((turns, correction)) = self.turns.as_ref().zip(content.correction) else {
            return;
        };
        out.extend_from_slice(&turns.before_answer);
        escape(correction.answer, out);
        out.extend_from_slice(&turns.before_message);
        escape(correction.message, out);
        if self.parts.is_some() {
            out.push(b'"');
        }
    }

    /// Bytes of the request for `content`, without a separator.
    #[must_use]
    pub fn request_len(&self, content: Content<'_>) -> u64 {
        let fixed = self.before_id.len() + self.after_id.len() + self.after_text.len();
        let own = match &self.parts {
            None => escaped_len(content.text),
            Some(parts) => parts.len(content),
        };
        (fixed + CustomId::LEN) as u64 + own + self.turns_len(content)
    }

    /// Bytes that the request for `content` adds to a body. The first request of a body pays for a
    /// separator that is not there, which errs on the safe side.
    #[must_use]
    pub fn added_len(&self, content: Content<'_>) -> u64 {
        self.request_len(content) + self.between.len() as u64
    }

    /// Appends request `n`, for `text`, to `out`; with the separator unless it is the first.
    pub fn write(&self, ids: &CustomId, n: u64, text: &str, out: &mut Vec<u8>) {
        self.begin(ids, n, out);
        escape(text, out);
        out.extend_from_slice(&self.after_text);
    }

    /// Appends request `n`, for `content`, to `out`; with the separator unless it is the first. `data`
    /// appends the base64 of an attachment.
    ///
    /// # Errors
    /// What `data` says.
    pub fn write_content(
        &self,
        ids: &CustomId,
        n: u64,
        content: Content<'_>,
        data: impl FnMut(&Attachment, &mut Vec<u8>) -> Result<()>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        self.begin(ids, n, out);
        match &self.parts {
            None => escape(content.text, out),
            Some(parts) => parts.write(content, data, out)?,
        }
        self.write_turns(content, out);
        out.extend_from_slice(&self.after_text);
        Ok(())
    }

    fn begin(&self, ids: &CustomId, n: u64, out: &mut Vec<u8>) {
        if n > 0 {
            out.extend_from_slice(&self.between);
        }
        out.extend_from_slice(&self.before_id);
        ids.write(n, out);
        out.extend_from_slice(&self.after_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_as_long_as_it_was_promised() {
        let frame = Frame {
            open: b"[".to_vec(),
            before_id: b"{\"id\":\"".to_vec(),
            after_id: b"\",\"q\":\"".to_vec(),
            after_text: b"\"}".to_vec(),
            between: b",".to_vec(),
            close: b"]".to_vec(),
            parts: None,
            inputs: None,
            turns: None,
        };
        let ids = CustomId::new("abcdefghjkmn", 0);
        let texts = ["plain", "a \"quoted\"\nline \u{1}", ""];
        let mut out = frame.open.clone();
        let mut promised = frame.base_len();
        for (n, text) in texts.iter().enumerate() {
            frame.write(&ids, n as u64, text, &mut out);
            promised += frame.added_len(Content::text(text));
        }
        out.extend_from_slice(&frame.close);
        assert_eq!(
            out.len() as u64 + 1,
            promised,
            "one separator less than requests"
        );
        let parsed: Vec<serde_json::Value> = serde_json::from_slice(&out).expect("valid JSON");
        assert_eq!(parsed[1]["q"], texts[1]);
        assert_eq!(parsed[2]["id"], "abcdefghjkmn-000000-000002");
    }

    /// Bytes around pieces, as some vendor would have them.
    fn piece_frame() -> Frame {
        use crate::work::{AttachmentFrame, PartFrame};

        let quoted = |before: &str, after: &str| [before.into(), after.into()];
        let around = |kind: &str| AttachmentFrame {
            bytes: [
                format!("{{\"{kind}\":\"data:").into(),
                b";base64,".to_vec(),
                b"\"}".to_vec(),
            ],
            url: Some(quoted(&format!("{{\"{kind}\":\""), "\"}")),
        };
        let frame = Frame {
            open: Vec::new(),
            before_id: b"{\"id\":\"".to_vec(),
            after_id: b"\",\"content\":\"".to_vec(),
            after_text: b"\"}".to_vec(),
            between: b"\n".to_vec(),
            close: b"\n".to_vec(),
            parts: None,
            inputs: None,
            turns: None,
        };
        frame.with_parts(PartFrame {
            text: quoted("{\"text\":\"", "\"}"),
            image: around("image"),
            document: around("document"),
        })
    }

    #[test]
    fn a_body_of_pieces_is_as_long_as_it_was_promised_and_says_what_they_are() {
        use crate::work::attachment::{AttachmentKind, AttachmentSource, MediaType};
        use crate::work::parts::encode;

        let frame = piece_frame();
        let cell = |at, kind, media, bytes: &[u8]| Attachment {
            at,
            kind,
            tokens: 1,
            source: AttachmentSource::Cell {
                column: "photo".into(),
                item: bytes.len(),
                media,
                bytes: bytes.len() as u64,
                sha256: String::new(),
            },
        };
        let url = Attachment {
            at: 5,
            kind: AttachmentKind::Image,
            tokens: 1,
            source: AttachmentSource::Url {
                url: "https://example.org/\"a\".png".into(),
            },
        };
        let attachments = [
            cell(0, AttachmentKind::Image, MediaType::Png, b"ab"),
            cell(5, AttachmentKind::Document, MediaType::Pdf, b"abc"),
            url,
        ];
        let content = Content::of("what\nis this?", &attachments);
        let ids = CustomId::new("abcdefghjkmn", 0);
        let mut out = Vec::new();
        let data = |attached: &Attachment, out: &mut Vec<u8>| match &attached.source {
            AttachmentSource::Cell { item, .. } => encode(attached, &b"abc"[..*item], out),
            other => panic!("{other:?}"),
        };
        frame
            .write_content(&ids, 0, content, data, &mut out)
            .expect("written");
        assert_eq!(out.len() as u64, frame.request_len(content));
        let parsed: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        let expect = serde_json::json!([
            { "image": "data:image/png;base64,YWI=" },
            { "text": "what\n" },
            { "document": "data:application/pdf;base64,YWJj" },
            { "image": "https://example.org/\"a\".png" },
            { "text": "is this?" },
        ]);
        assert_eq!(parsed["content"], expect);
        let short = |attached: &Attachment, out: &mut Vec<u8>| encode(attached, b"a", out);
        let wrong = frame.write_content(&ids, 0, content, short, &mut out);
        assert!(wrong.is_err(), "other bytes than were planned");
    }
}
