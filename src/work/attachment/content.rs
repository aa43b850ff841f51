//! What one row asks: a text, the attachments that stand in it, and what follows where it is asked again.

use sha2::{Digest, Sha256};

use super::attached::Attachment;
use crate::work::Correction;

/// What one row asks: a text, and what stands in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content<'a> {
    /// The text.
    pub text: &'a str,
    /// What stands in it, by place.
    pub attachments: &'a [Attachment],
    /// The answer that it had before, and what is wrong with that; where it is asked again for it.
    pub correction: Option<Correction<'a>>,
}

impl<'a> Content<'a> {
    /// Nothing but `text`.
    #[must_use]
    pub fn text(text: &'a str) -> Self {
        Content::of(text, &[])
    }

    /// A text with what stands in it, that is asked for the first time.
    #[must_use]
    pub fn of(text: &'a str, attachments: &'a [Attachment]) -> Self {
        Content {
            text,
            attachments,
            correction: None,
        }
    }

    /// Tokens that the attachments may count as.
    #[must_use]
    pub fn tokens(self) -> u64 {
        self.attachments
            .iter()
            .map(|attached| attached.tokens)
            .sum()
    }

    /// The pieces that are sent, in order. Blank text between attachments is no piece: providers refuse it.
    pub fn pieces(self) -> impl Iterator<Item = Piece<'a>> {
        let cuts = self.attachments.iter().map(|attached| attached.at);
        let ends = cuts.chain(std::iter::once(self.text.len()));
        let starts = std::iter::once(0).chain(self.attachments.iter().map(|a| a.at));
        let texts = starts
            .zip(ends)
            .map(move |(from, to)| self.text.get(from..to));
        let attached = self
            .attachments
            .iter()
            .map(Some)
            .chain(std::iter::once(None));
        texts.zip(attached).flat_map(|(text, attached)| {
            let text = text.filter(|text| !text.trim().is_empty());
            [text.map(Piece::Text), attached.map(Piece::Attachment)]
                .into_iter()
                .flatten()
        })
    }

    /// Hashes what the attachments are into a request's key, so that neither their places nor their texts
    /// run into each other.
    pub(in crate::work) fn hash_attachments(&self, hasher: &mut Sha256) {
        hasher.update((self.attachments.len() as u64).to_le_bytes());
        for attached in self.attachments {
            hasher.update((attached.at as u64).to_le_bytes());
            for word in [attached.kind.as_str()]
                .iter()
                .chain(&attached.source.identity())
            {
                hasher.update((word.len() as u64).to_le_bytes());
                hasher.update(word.as_bytes());
            }
            let bytes = attached.source.content().map_or(0, |(_, bytes)| bytes);
            hasher.update(bytes.to_le_bytes());
        }
    }
}

/// A piece of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Text, not blank.
    Text(&'a str),
    /// A picture or a document.
    Attachment(&'a Attachment),
}

#[cfg(test)]
mod tests {
    use super::super::{AttachmentKind, AttachmentSource};
    use super::*;

    fn image(at: usize) -> Attachment {
        Attachment {
            at,
            kind: AttachmentKind::Image,
            tokens: 1,
            source: AttachmentSource::Url {
                url: "https://example.org/a.png".into(),
            },
        }
    }

    #[test]
    fn pieces_stand_where_they_stand_in_the_text() {
        let attachments = [image(0), image(2), image(2), image(4)];
        let content = Content::of("a b  ", &attachments);
        let pieces: Vec<_> = content.pieces().collect();
        let expect = [
            Piece::Attachment(&attachments[0]),
            Piece::Text("a "),
            Piece::Attachment(&attachments[1]),
            Piece::Attachment(&attachments[2]),
            Piece::Text("b "),
            Piece::Attachment(&attachments[3]),
        ];
        assert_eq!(pieces, expect);
        assert_eq!(
            Content::text("a").pieces().collect::<Vec<_>>(),
            [Piece::Text("a")]
        );
    }
}
