//! Where OpenAI is, what it takes, and how it knows us.

use crate::base::Result;
use crate::base::http::{HeaderMap, HeaderName, HeaderValue, header};
use crate::base::{Error, ErrorKind};
use crate::provider::account::{Account, Options};
use crate::provider::call::secret_header;
use crate::provider::{Capability, Embeddings, QueueUnit};
use crate::work::attachment::{DocumentLimits, ImageLimits};
use crate::work::{Api, AttachmentLimits, Limits, LineLimits, MediaType};

/// The name in `[model] use`.
pub(crate) const NAME: &str = "openai";

const BASE_URL: &str = "https://api.openai.com/v1";
const BASE_URL_ENV: &str = "OPENAI_BASE_URL";
const KEY_ENV: &str = "OPENAI_API_KEY";

/// Variables that narrow what a key sees, and the headers that they go in.
const SCOPE: [(&str, &str); 2] = [
    ("OPENAI_ORG_ID", "openai-organization"),
    ("OPENAI_PROJECT_ID", "openai-project"),
];

/// 50,000 requests and 200 MB in one file; bytes 10 % under that, for nobody says whether a
/// megabyte is 10^6 bytes. A request of its own has no limit but the file's.
const LIMITS: Limits = Limits {
    requests_max: 50_000,
    bytes_max: 180_000_000,
    request_bytes_max: 180_000_000,
};

/// Pictures and documents go with the request; what is too large for it is refused by its bytes. No other
/// limits are documented. Chat completions read no documents from URLs.
const ATTACHMENTS: AttachmentLimits = AttachmentLimits {
    images: ImageLimits {
        types: &[
            MediaType::Jpeg,
            MediaType::Png,
            MediaType::Gif,
            MediaType::Webp,
        ],
        base64_max: u64::MAX,
        side_max: usize::MAX,
        many: (usize::MAX, usize::MAX),
        tokens_max: 4784,
    },
    documents: DocumentLimits {
        pages_max: u64::MAX,
        from_urls: false,
        encrypted: true,
    },
    together_max: u64::MAX,
};

/// 2,048 inputs and 300,000 tokens in one request for embeddings; half of the tokens, for we count them
/// roughly. A batch has as many inputs as requests: 50,000.
const EMBEDDINGS: Embeddings = Embeddings {
    api: Api::Embeddings,
    line: LineLimits {
        inputs_max: 2_048,
        tokens_max: 150_000,
    },
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
        let key = options.key(&[KEY_ENV])?;
        let scope = SCOPE.map(|(variable, _)| options.var(variable).unwrap_or_default());
        let parts: Vec<&str> = scope.iter().map(String::as_str).collect();
        let account = Account::new(options, NAME, BASE_URL, base, key, &parts);
        let mut headers = HeaderMap::new();
        headers.insert(
            header::AUTHORIZATION,
            secret_header("Bearer ", &account.key_env, &account.key)?,
        );
        for ((variable, name), value) in SCOPE.into_iter().zip(&scope) {
            if !value.is_empty() {
                headers.insert(HeaderName::from_static(name), plain(variable, value)?);
            }
        }
        let capability = Capability {
            name: NAME,
            api: Api::ChatCompletions,
            embeddings: Some(EMBEDDINGS),
            service: account.service.clone(),
            account: account.fingerprint.clone(),
            limits: LIMITS,
            queue: QueueUnit::PromptTokens,
            attachments: ATTACHMENTS,
            names_all: false,
        };
        Ok(Config {
            account,
            headers,
            capability,
        })
    }
}

fn plain(variable: &str, value: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(value).map_err(|_| {
        Error::new(ErrorKind::Refused, "the id holds characters that no id has")
            .with("variable", variable)
    })
}
