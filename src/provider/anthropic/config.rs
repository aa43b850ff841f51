//! Where Anthropic is, what it takes, and how it knows us.

use crate::base::Result;
use crate::base::http::{HeaderMap, HeaderValue, header};
use crate::provider::account::{Account, Options};
use crate::provider::call::secret_header;
use crate::work::attachment::{DocumentLimits, ImageLimits};
use crate::work::{Api, AttachmentLimits, Limits, MediaType};

use super::super::{Capability, QueueUnit};

/// The name in `[model] use`.
pub(crate) const NAME: &str = "anthropic";

const BASE_URL: &str = "https://api.anthropic.com";
const BASE_URL_ENV: &str = "ANTHROPIC_BASE_URL";
const KEY_ENV: &str = "ANTHROPIC_API_KEY";
/// Holds a token that goes as a bearer's and not as a key.
const TOKEN_ENV: &str = "ANTHROPIC_AUTH_TOKEN";

/// The header that says which version of the interface a call speaks.
pub(super) const VERSION_HEADER: &str = "anthropic-version";
/// The version that all calls speak but those of the next line.
pub(super) const VERSION: &str = "2026-10-21";
/// The version that still knows sampling parameters.
pub(super) const VERSION_WITH_SAMPLING: &str = "2023-06-01";

/// 100,000 requests and 256 MB in one batch, 32 MB in one request; bytes 10 % under that, for
/// nobody says whether a megabyte is 10^6 bytes, or where exactly it is counted.
const LIMITS: Limits = Limits {
    requests_max: 100_000,
    bytes_max: 230_400_000,
    request_bytes_max: 28_800_000,
};

/// Pictures and documents (vision guide): 10 MB of base64 each, 8000 pixels a side, 2000 where there are more
/// than 20; 600 pictures or pages in a request.
const ATTACHMENTS: AttachmentLimits = AttachmentLimits {
    images: ImageLimits {
        types: &[
            MediaType::Jpeg,
            MediaType::Png,
            MediaType::Gif,
            MediaType::Webp,
        ],
        base64_max: 10_000_000,
        side_max: 8000,
        many: (20, 2000),
        tokens_max: 4784,
    },
    documents: DocumentLimits {
        pages_max: 600,
        from_urls: true,
        encrypted: false,
    },
    together_max: 600,
};

/// What an opened provider consists of.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) account: Account,
    pub(super) headers: HeaderMap,
    pub(super) capability: Capability,
}

impl Config {
    /// Reads the options and the environment.
    ///
    /// # Errors
    /// As for [`open`](crate::provider::open()).
    pub(super) fn build(options: &Options<'_>) -> Result<Self> {
        let base = options.base(BASE_URL_ENV, BASE_URL)?;
        let key = options.key(&[KEY_ENV, TOKEN_ENV])?;
        let account = Account::new(options, NAME, BASE_URL, base, key, &[]);
        let mut headers = HeaderMap::new();
        // One of the two, never both: the service refuses a key that is sent in both ways.
        let (name, prefix) = if account.key_env == TOKEN_ENV {
            (header::AUTHORIZATION, "Bearer ")
        } else {
            (header::HeaderName::from_static("x-api-key"), "")
        };
        headers.insert(name, secret_header(prefix, &account.key_env, &account.key)?);
        headers.insert(VERSION_HEADER, HeaderValue::from_static(VERSION));
        let capability = Capability {
            name: NAME,
            api: Api::Messages,
            embeddings: None,
            service: account.service.clone(),
            account: account.fingerprint.clone(),
            limits: LIMITS,
            queue: QueueUnit::Requests,
            attachments: ATTACHMENTS,
            names_all: true,
        };
        Ok(Config {
            account,
            headers,
            capability,
        })
    }
}
