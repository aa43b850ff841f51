//! Keys for S3 from a profile of the AWS tools, renewed before they run out.

use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use secrecy::ExposeSecret;
use serde::Deserialize;
use sha1::{Digest, Sha1};
use tokio::process::Command;
use tokio::sync::Mutex;
use url::Url;

use super::profile::{Means, Profile, Sso};
use super::sso::{self, Lacking};
use crate::base::http::{HeaderValue, HttpError, HttpRequest, HttpService, Method};
use crate::base::{Clock, Error, ErrorKind, Result, ResultExt, Time, hex};

/// Keys are renewed so long before they run out.
const AHEAD: Duration = Duration::from_mins(5);
/// How long a command may take that prints keys.
const COMMAND_MAX: Duration = Duration::from_mins(1);
/// The most bytes of an answer that holds keys.
const ANSWER_MAX: usize = 1 << 20;

/// The keys of a profile.
pub(super) struct ProfileKeys {
    profile: String,
    cache: PathBuf,
    means: Means,
    addresses: Addresses,
    clock: Arc<dyn Clock>,
    http: Arc<dyn HttpService>,
    kept: Mutex<Option<Keys>>,
}

/// Other addresses than the region's for IAM Identity Center.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    /// Where keys are given.
    pub(super) portal: Option<String>,
    /// Where tokens are prolonged.
    pub(super) tokens: Option<String>,
}

/// Keys, and when they run out.
struct Keys {
    credential: Arc<AwsCredential>,
    until: Option<Time>,
}

impl ProfileKeys {
    pub(super) fn new(
        profile: &Profile,
        means: Means,
        addresses: Addresses,
        (clock, http): (Arc<dyn Clock>, Arc<dyn HttpService>),
    ) -> ProfileKeys {
        ProfileKeys {
            profile: profile.name.clone(),
            cache: profile.cache.clone(),
            means,
            addresses,
            clock,
            http,
            kept: Mutex::default(),
        }
    }

    async fn fetch(&self) -> Result<Keys> {
        match &self.means {
            Means::Keys { id, secret, token } => Ok(Keys {
                credential: Arc::new(AwsCredential {
                    key_id: id.clone(),
                    secret_key: secret.expose_secret().to_owned(),
                    token: token.as_ref().map(|token| token.expose_secret().to_owned()),
                }),
                until: None,
            }),
            Means::Process(command) => run(command).await,
            Means::Sso(sso) => self.ask(sso).await,
        }
        .map_err(|error| error.with("profile", &self.profile))
    }

    /// Asks IAM Identity Center for the role's keys, with the token that `aws sso login` left.
    async fn ask(&self, sso: &Sso) -> Result<Keys> {
        let token = self.token(sso).await?;
        let address = self
            .addresses
            .portal
            .clone()
            .unwrap_or_else(|| format!("https://portal.sso.{}.amazonaws.com", sso.region));
        let mut url = Url::parse(&address)
            .and_then(|url| url.join("/federation/credentials"))
            .or_err(ErrorKind::Invalid, "not an address of IAM Identity Center")?;
        url.query_pairs_mut()
            .append_pair("role_name", &sso.role)
            .append_pair("account_id", &sso.account);
        let mut request = HttpRequest::new(Method::GET, url);
        let mut value = token
            .parse::<HeaderValue>()
            .or_err(ErrorKind::Refused, "the token of the session is damaged")?;
        value.set_sensitive(true);
        request.headers.insert("x-amz-sso_bearer_token", value);
        let answer = self
            .http
            .send(request)
            .await
            .map_err(HttpError::into_error)?;
        let status = answer.status;
        let body = answer.bytes(ANSWER_MAX).await?;
        if status.is_success() {
            return Granted::keys(&body);
        }
        let error = match status.as_u16() {
            401 => self.ended(),
            403 | 404 => Error::new(ErrorKind::Refused, "IAM Identity Center gives no keys for this role")
                .with("role", &sso.role)
                .with("account", &sso.account)
                .hint("compare `sso_role_name` and `sso_account_id` of the profile with what you were assigned"),
            _ => Error::unavailable("IAM Identity Center does not give keys now"),
        };
        Err(error.with("status", status))
    }

    /// The token, from the file in which the tools keep it.
    async fn token(&self, sso: &Sso) -> Result<String> {
        let name = hex(&Sha1::digest(&sso.session));
        let file = self.cache.join(format!("{name}.json"));
        let address = self
            .addresses
            .tokens
            .clone()
            .unwrap_or_else(|| format!("https://oidc.{}.amazonaws.com", sso.region));
        let address = Url::parse(&address)
            .and_then(|url| url.join("/token"))
            .or_err(ErrorKind::Invalid, "not an address of IAM Identity Center")?;
        sso::token(&file, &address, &self.clock, &self.http)
            .await
            .map_err(|lacking| match lacking {
                Lacking::NoFile => self.ended().with("file", file.display()),
                Lacking::Ended(until) => self.ended().with("until", until),
            })
    }

    fn ended(&self) -> Error {
        Error::new(
            ErrorKind::Refused,
            "the session of IAM Identity Center has ended, or was never begun",
        )
        .hint(format!(
            "`aws sso login --profile {}` begins it",
            self.profile
        ))
    }
}

/// Runs the command of a profile, as the AWS tools do.
async fn run(command: &str) -> Result<Keys> {
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg(command)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let failed = |why: String| {
        // Neither the command nor what it says is shown: both may hold secrets.
        Error::new(
            ErrorKind::Refused,
            "the `credential_process` of the profile gave no keys",
        )
        .with("why", why)
        .hint("run it by hand: it prints JSON with `Version`, `AccessKeyId` and `SecretAccessKey`")
    };
    let output = tokio::time::timeout(COMMAND_MAX, shell.output())
        .await
        .map_err(|_| failed(format!("it took more than {} s", COMMAND_MAX.as_secs())))?
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(output.status.to_string()));
    }
    let printed: Printed =
        serde_json::from_slice(&output.stdout).map_err(|_| failed("not such JSON".to_owned()))?;
    if printed.version != 1 {
        return Err(failed(format!("version {}", printed.version)));
    }
    let until = match printed.expiration.as_deref().map(str::parse::<Time>) {
        Some(Err(_)) => return Err(failed("`Expiration` is no time".to_owned())),
        Some(Ok(until)) => Some(until),
        None => None,
    };
    Ok(Keys {
        credential: Arc::new(AwsCredential {
            key_id: printed.access_key_id,
            secret_key: printed.secret_access_key,
            token: printed.session_token,
        }),
        until,
    })
}

/// What a `credential_process` prints.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Printed {
    version: u64,
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    expiration: Option<String>,
}

/// What IAM Identity Center answers.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Granted {
    role_credentials: RoleCredentials,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RoleCredentials {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    /// In milliseconds since 1970.
    expiration: i64,
}

impl Granted {
    fn keys(body: &[u8]) -> Result<Keys> {
        let granted: Granted = serde_json::from_slice(body)
            .map_err(|_| Error::unavailable("IAM Identity Center answers in other words"))?;
        let keys = granted.role_credentials;
        Ok(Keys {
            until: Time::from_timestamp_millis(keys.expiration),
            credential: Arc::new(AwsCredential {
                key_id: keys.access_key_id,
                secret_key: keys.secret_access_key,
                token: Some(keys.session_token),
            }),
        })
    }
}

#[async_trait]
impl CredentialProvider for ProfileKeys {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut kept = self.kept.lock().await;
        let now = self.clock.now();
        let lasts = |keys: &&Keys| keys.until.is_none_or(|until| now + AHEAD < until);
        if let Some(keys) = kept.as_ref().filter(lasts) {
            return Ok(Arc::clone(&keys.credential));
        }
        let keys = self
            .fetch()
            .await
            .map_err(|error| object_store::Error::Generic {
                store: "S3",
                source: error.into(),
            })?;
        let credential = Arc::clone(&keys.credential);
        *kept = Some(keys);
        Ok(credential)
    }
}

impl fmt::Debug for ProfileKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProfileKeys({})", self.profile)
    }
}
