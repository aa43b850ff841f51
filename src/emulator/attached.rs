//! Pictures and documents in a request's messages: what is wrong with them, and what they cost.
//!
//! Nothing is fetched: a URL whose path ends with `/404` cannot be downloaded, every other can.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::borrowed::Borrowed;

/// Where a part of the first vendor's dialect has its bytes.
#[derive(Debug, Deserialize)]
pub(super) struct Source<'a> {
    #[serde(borrow, default)]
    r#type: Option<Borrowed<'a>>,
    #[serde(borrow, default)]
    media_type: Option<Borrowed<'a>>,
    #[serde(borrow, default)]
    data: Option<Borrowed<'a>>,
    #[serde(borrow, default)]
    url: Option<Borrowed<'a>>,
}

/// Where a picture of the second vendor's dialect is.
#[derive(Debug, Deserialize)]
pub(super) struct ImageUrl<'a> {
    #[serde(borrow, default)]
    url: Option<Borrowed<'a>>,
}

/// Where a document of the second vendor's dialect is.
#[derive(Debug, Deserialize)]
pub(super) struct FileData<'a> {
    #[serde(borrow, default)]
    file_data: Option<Borrowed<'a>>,
    #[serde(borrow, default)]
    filename: Option<Borrowed<'a>>,
}

/// What a part is that is no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Image,
    Document,
    /// One that the sandbox does not know.
    Other,
}

/// A part that is no text.
#[derive(Debug)]
pub(super) struct Attached<'a> {
    pub(super) kind: Kind,
    /// What the media type is said to be.
    media: Cow<'a, str>,
    /// Base64, or a URL.
    pub(super) data: Cow<'a, str>,
    is_url: bool,
    /// What is wrong with how it is written.
    broken: Option<&'static str>,
}

impl<'a> Attached<'a> {
    fn of(kind: Kind, media: Cow<'a, str>, data: Cow<'a, str>) -> Self {
        Attached {
            kind,
            media,
            data,
            is_url: false,
            broken: None,
        }
    }

    fn broken(kind: Kind, why: &'static str) -> Self {
        Attached {
            broken: Some(why),
            ..Attached::of(kind, Cow::Borrowed(""), Cow::Borrowed(""))
        }
    }

    /// A part of a kind that nobody knows.
    pub(super) fn unknown() -> Self {
        Attached::of(Kind::Other, Cow::Borrowed(""), Cow::Borrowed(""))
    }

    fn url(kind: Kind, url: Cow<'a, str>) -> Self {
        Attached {
            is_url: true,
            ..Attached::of(kind, Cow::Borrowed(""), url)
        }
    }

    /// A part of the first vendor's dialect.
    pub(super) fn of_source(kind: &str, source: Source<'a>) -> Self {
        let kind = match kind {
            "image" => Kind::Image,
            "document" => Kind::Document,
            _ => Kind::Other,
        };
        let text = |text: Option<Borrowed<'a>>| text.map(|text| text.0);
        match source.r#type.as_ref().map(|kind| &*kind.0) {
            Some("base64") => match (text(source.media_type), text(source.data)) {
                (Some(media), Some(data)) => Attached::of(kind, media, data),
                _ => Attached::broken(kind, "source: media_type and data: Field required"),
            },
            Some("url") => match text(source.url) {
                Some(url) => Attached::url(kind, url),
                None => Attached::broken(kind, "source.url: Field required"),
            },
            _ => Attached::broken(kind, "source.type: Input should be 'base64' or 'url'"),
        }
    }

    /// A picture of the second vendor's dialect.
    pub(super) fn of_image_url(image: ImageUrl<'a>) -> Self {
        match image.url {
            Some(Borrowed(url)) => of_data_url(Kind::Image, url),
            None => Attached::broken(Kind::Image, "Missing required parameter: 'image_url.url'."),
        }
    }

    /// A document of the second vendor's dialect.
    pub(super) fn of_file(file: FileData<'a>) -> Self {
        match (file.file_data, file.filename) {
            (Some(Borrowed(data)), Some(_)) if data.starts_with("data:") => {
                of_data_url(Kind::Document, data)
            }
            (Some(_), Some(_)) => Attached::broken(Kind::Document, "Invalid 'file.file_data'."),
            _ => Attached::broken(
                Kind::Document,
                "Missing required parameter: 'file.filename'.",
            ),
        }
    }

    /// What is wrong with it, if anything; `side_max` is the longest side that a picture may have, and
    /// `base64_max` the most characters of its base64.
    pub(super) fn complaint(&self, side_max: usize, base64_max: usize) -> Option<String> {
        if let Some(why) = self.broken {
            return Some(why.to_owned());
        }
        if self.kind == Kind::Other {
            return Some("type: Input tag is not known".to_owned());
        }
        if self.is_url {
            return self.url_complaint();
        }
        if self.data.len() > base64_max {
            let (len, max) = (self.data.len(), base64_max);
            return Some(format!(
                "image exceeds the maximum: {len} bytes > {max} bytes"
            ));
        }
        let Ok(bytes) = STANDARD.decode(self.data.as_bytes()) else {
            return Some("source.base64: Invalid base64 data".to_owned());
        };
        if media_of(&bytes) != Some(&*self.media) {
            return Some(format!(
                "the bytes do not match the provided media type {}",
                self.media
            ));
        }
        let side = self
            .pixels(&bytes)
            .map_or(0, |(width, height)| width.max(height));
        (side > side_max).then(|| {
            format!(
                "At least one of the image dimensions exceed max allowed size: {side_max} pixels"
            )
        })
    }

    fn url_complaint(&self) -> Option<String> {
        let is_url = self.data.starts_with("https://") || self.data.starts_with("http://");
        if !is_url {
            return Some("Only HTTP and HTTPS URLs are supported.".to_owned());
        }
        self.data
            .ends_with("/404")
            .then(|| "Unable to download the file. Please verify the URL and try again.".to_owned())
    }

    fn pixels(&self, bytes: &[u8]) -> Option<(usize, usize)> {
        if self.kind != Kind::Image {
            return None;
        }
        let size = imagesize::blob_size(bytes).ok()?;
        Some((size.width, size.height))
    }

    /// Tokens that it counts as: those of a picture by its area after it was made smaller, within the limits of
    /// the older models; of anything else a flat number.
    pub(super) fn tokens(&self) -> u32 {
        const SIDE_MAX: usize = 1568;
        const TOKENS_MAX: usize = 1568;
        let bytes = STANDARD.decode(self.data.as_bytes()).unwrap_or_default();
        let Some((width, height)) = self.pixels(&bytes) else {
            return 1500;
        };
        let long = width.max(height).max(1);
        let scaled = |side: usize| {
            let side = if long > SIDE_MAX {
                side * SIDE_MAX / long
            } else {
                side
            };
            side.div_ceil(28)
        };
        let tokens = (scaled(width) * scaled(height)).clamp(1, TOKENS_MAX);
        u32::try_from(tokens).unwrap_or(u32::MAX)
    }
}

fn of_data_url(kind: Kind, url: Cow<'_, str>) -> Attached<'_> {
    let Some(rest) = url.strip_prefix("data:") else {
        return Attached::url(kind, url);
    };
    match rest.split_once(";base64,") {
        Some((media, data)) => {
            let (media, data) = (media.to_owned(), data.to_owned());
            Attached::of(kind, media.into(), data.into())
        }
        None => Attached::broken(kind, "Invalid base64 data URL."),
    }
}

/// The media type of bytes, by their first ones.
fn media_of(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [b'G', b'I', b'F', b'8', ..] => Some("image/gif"),
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => Some("image/webp"),
        [b'%', b'P', b'D', b'F', ..] => Some("application/pdf"),
        _ => None,
    }
}
