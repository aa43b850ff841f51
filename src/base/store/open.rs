//! From a URL, the environment and the user's options to a store.
//!
//! `https://` is always plain HTTP, whoever's host it is: a bucket is named `s3://`, `gs://` or
//! `az://`, so that one scheme and host is one store.

use std::str::FromStr;
use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::{ClientConfigKey, ObjectStore};
use url::{Position, Url};

use super::aws::{Addresses, ProfileKeys};
use super::connect::OnIoRuntime;
use super::profile::Profile;
use super::{Clock, Error, ErrorKind, Result, ResultExt, fault};
use crate::base::http::HttpService;

type Pair = (String, String);

/// Refuses a URL that nobody can open, or that holds what must not be shown.
pub(super) fn check_url(url: &Url) -> Result<()> {
    let known = [
        "s3", "s3a", "gs", "az", "adl", "azure", "abfs", "abfss", "http", "https", "memory",
    ];
    if !known.contains(&url.scheme()) {
        return Err(Error::invalid("no store has this scheme")
            .with("scheme", url.scheme())
            .hint("use a local path, `s3://`, `gs://`, `az://`, `abfss://` or `https://`"));
    }
    // In `abfss://container@account.dfs.core.windows.net/` the user's place holds the container.
    let user_is_container = url.scheme().starts_with("abfs") || url.scheme().starts_with("az");
    if url.password().is_some() || (!url.username().is_empty() && !user_is_container) {
        return Err(Error::invalid("credentials do not belong in a URL")
            .with("url", &url[Position::BeforeHost..Position::AfterPath])
            .hint("set them in the environment, such as `AWS_ACCESS_KEY_ID`"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Error::invalid(
            "a URL of storage has no query and no fragment, and a signed URL cannot be used",
        )
        .with("url", &url[..Position::AfterPath])
        .hint("set credentials in the environment, such as `AZURE_STORAGE_SAS_KEY`"));
    }
    if url.scheme() != "memory" && url.host_str().is_none_or(str::is_empty) {
        return Err(Error::invalid("the URL names no bucket or host").with("url", url));
    }
    Ok(())
}

/// What a store may need besides its settings.
pub(super) struct Seams {
    pub(super) clock: Arc<dyn Clock>,
    /// Where a profile of the AWS tools is asked for keys.
    pub(super) http: Arc<dyn HttpService>,
    pub(super) connector: OnIoRuntime,
}

/// Opens the store that `url` names. `url` has passed [`check_url`].
pub(super) fn open(
    url: &Url,
    variables: &[Pair],
    options: &[Pair],
    seams: Seams,
) -> Result<Arc<dyn ObjectStore>> {
    match url.scheme() {
        "s3" | "s3a" => open_s3(url, variables, settings(variables, "AWS_", options), seams),
        "gs" => open_gcs(
            url,
            &settings(variables, "GOOGLE_", options),
            seams.connector,
        ),
        "http" | "https" => open_http(
            url,
            &settings(variables, "HTTP_STORE_", options),
            seams.connector,
        ),
        _ => open_azure(
            url,
            &settings(variables, "AZURE_", options),
            seams.connector,
        ),
    }
}

/// The variables that begin with `prefix`, then the options; the later win. An empty variable is as
/// good as none.
fn settings(variables: &[Pair], prefix: &str, options: &[Pair]) -> Vec<Pair> {
    variables
        .iter()
        .filter(|(key, value)| key.starts_with(prefix) && !value.is_empty())
        .chain(options)
        .map(|(key, value)| (key.to_ascii_lowercase(), value.clone()))
        .collect()
}

fn open_s3(
    url: &Url,
    variables: &[Pair],
    settings: Vec<Pair>,
    seams: Seams,
) -> Result<Arc<dyn ObjectStore>> {
    use AmazonS3ConfigKey::{Client, Endpoint, S3Endpoint};
    let Seams {
        clock,
        http,
        connector,
    } = seams;
    let (settings, keys) = with_profile(variables, settings, (clock, http))?;
    let settings = parsed::<AmazonS3ConfigKey>(&settings);
    let endpoint = last(&settings, &S3Endpoint).or_else(|| last(&settings, &Endpoint));
    let allowed = last(&settings, &Client(ClientConfigKey::AllowHttp));
    refuse_plain_http(endpoint, allowed, ("the S3 endpoint", "AWS_ALLOW_HTTP"))?;
    let builder = AmazonS3Builder::new()
        .with_url(url.as_str())
        .with_http_connector(connector);
    let builder = match keys {
        Some(keys) => builder.with_credentials(Arc::new(keys)),
        None => builder,
    };
    let builder = settings.into_iter().fold(builder, |builder, (key, value)| {
        builder.with_config(key, value)
    });
    built(builder.build(), url)
}

/// The settings, with what a profile of the AWS tools adds to them; and its keys, where nothing else
/// gives any. As with those tools, keys in the environment come first; a profile that is not named gives
/// way to the role that a container was given.
fn with_profile(
    variables: &[Pair],
    mut settings: Vec<Pair>,
    seams: (Arc<dyn Clock>, Arc<dyn HttpService>),
) -> Result<(Vec<Pair>, Option<ProfileKeys>)> {
    use AmazonS3ConfigKey::{
        AccessKeyId, DefaultRegion, Endpoint, Region, S3Endpoint, SecretAccessKey, SkipSignature,
    };
    let known = parsed::<AmazonS3ConfigKey>(&settings);
    let has = |keys: &[AmazonS3ConfigKey]| known.iter().any(|(key, _)| keys.contains(key));
    let (has_region, has_endpoint) = (has(&[Region, DefaultRegion]), has(&[Endpoint, S3Endpoint]));
    let has_keys =
        (has(&[AccessKeyId]) && has(&[SecretAccessKey])) || is_on(last(&known, &SkipSignature));
    let variable = |name: &str| {
        let found = variables
            .iter()
            .find(|(key, value)| key == name && !value.is_empty());
        found.map(|(_, value)| value.clone())
    };
    let profile = match Profile::read(variables) {
        Ok(Some(profile)) => profile,
        Ok(None) => return Ok((settings, None)),
        // Whoever has keys needs no profile.
        Err(_) if has_keys => return Ok((settings, None)),
        Err(error) => return Err(error),
    };
    let ignores = variable("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
    let mut add = |key: &str, value: &str| settings.insert(0, (key.to_owned(), value.to_owned()));
    if let Some(region) = profile.region().filter(|_| !has_region) {
        add("aws_region", region);
    }
    if let Some(endpoint) = profile
        .endpoint()
        .filter(|_| !has_endpoint && !is_on(ignores.as_deref()))
    {
        add("aws_endpoint", endpoint);
    }
    let of_container = OF_CONTAINERS.iter().any(|name| variable(name).is_some());
    if has_keys || (of_container && !profile.is_named) {
        return Ok((settings, None));
    }
    let keys = profile.means()?.map(|means| {
        let addresses = Addresses {
            portal: variable("AWS_ENDPOINT_URL_SSO"),
            tokens: variable("AWS_ENDPOINT_URL_SSO_OIDC"),
        };
        ProfileKeys::new(&profile, means, addresses, seams)
    });
    Ok((settings, keys))
}

/// What a container is given to come by keys.
const OF_CONTAINERS: [&str; 3] = [
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

fn open_gcs(url: &Url, settings: &[Pair], connector: OnIoRuntime) -> Result<Arc<dyn ObjectStore>> {
    use GoogleConfigKey::{BaseUrl, Client};
    let settings = parsed::<GoogleConfigKey>(settings);
    let allowed = last(&settings, &Client(ClientConfigKey::AllowHttp));
    let endpoint = last(&settings, &BaseUrl);
    refuse_plain_http(
        endpoint,
        allowed,
        ("Google's endpoint", "GOOGLE_ALLOW_HTTP"),
    )?;
    let builder = GoogleCloudStorageBuilder::new()
        .with_url(url.as_str())
        .with_http_connector(connector);
    let builder = settings.into_iter().fold(builder, |builder, (key, value)| {
        builder.with_config(key, value)
    });
    built(builder.build(), url)
}

fn open_azure(
    url: &Url,
    settings: &[Pair],
    connector: OnIoRuntime,
) -> Result<Arc<dyn ObjectStore>> {
    use AzureConfigKey::{Client, Endpoint};
    let settings = parsed::<AzureConfigKey>(settings);
    let allowed = last(&settings, &Client(ClientConfigKey::AllowHttp));
    let endpoint = last(&settings, &Endpoint);
    refuse_plain_http(
        endpoint,
        allowed,
        ("the Azure endpoint", "AZURE_ALLOW_HTTP"),
    )?;
    let builder = MicrosoftAzureBuilder::new()
        .with_url(url.as_str())
        .with_http_connector(connector);
    let builder = settings.into_iter().fold(builder, |builder, (key, value)| {
        builder.with_config(key, value)
    });
    built(builder.build(), url)
}

/// The value of `key` that counts: the last one.
fn last<'a, K: PartialEq>(settings: &'a [(K, String)], key: &K) -> Option<&'a str> {
    let found = settings.iter().rev().find(|(known, _)| known == key);
    found.map(|(_, value)| value.as_str())
}

/// Refuses an endpoint without TLS, unless that is asked for by the variable that is named.
fn refuse_plain_http(
    endpoint: Option<&str>,
    allowed: Option<&str>,
    (what, variable): (&str, &str),
) -> Result<()> {
    match endpoint.filter(|endpoint| endpoint.starts_with("http://")) {
        Some(endpoint) if !is_on(allowed) => Err(Error::invalid(format!("{what} is plain http"))
            .with("endpoint", scrub_endpoint(endpoint))
            .hint(format!("set `{variable}=true` if that is meant"))),
        _ => Ok(()),
    }
}

fn open_http(url: &Url, settings: &[Pair], connector: OnIoRuntime) -> Result<Arc<dyn ObjectStore>> {
    let settings = parsed::<ClientConfigKey>(settings);
    let allowed = last(&settings, &ClientConfigKey::AllowHttp);
    if url.scheme() == "http" && !is_on(allowed) {
        return Err(Error::invalid("the address is plain http")
            .with("url", url)
            .hint("use `https://`, or `--storage-option allow_http=true` if that is meant"));
    }
    let builder = HttpBuilder::new()
        .with_url(&url[..Position::BeforePath])
        .with_http_connector(connector);
    let builder = settings.into_iter().fold(builder, |builder, (key, value)| {
        builder.with_config(key, value)
    });
    built(builder.build(), url)
}

/// The settings that this kind of store knows; others belong to other stores.
fn parsed<K: FromStr>(settings: &[Pair]) -> Vec<(K, String)> {
    settings
        .iter()
        .filter_map(|(key, value)| Some((key.parse().ok()?, value.clone())))
        .collect()
}

fn built<S: ObjectStore>(
    store: object_store::Result<S>,
    url: &Url,
) -> Result<Arc<dyn ObjectStore>> {
    let store = store
        .or_err(ErrorKind::Invalid, "cannot open the store")
        .map_err(|error| {
            let hint = fault::credentials_hint(url.as_str());
            error.with("url", url).hint(hint)
        })?;
    Ok(Arc::new(store))
}

fn is_on(value: Option<&str>) -> bool {
    let value = value.unwrap_or_default().to_ascii_lowercase();
    ["1", "true", "on", "yes", "y"].contains(&value.as_str())
}

fn scrub_endpoint(endpoint: &str) -> &str {
    endpoint.rsplit_once('@').map_or(endpoint, |(_, host)| host)
}

/// Refuses options that no store knows. Their values are not shown: one may be a key.
pub(super) fn check_options(options: &[Pair]) -> Result<()> {
    for (key, _) in options {
        let lower = key.to_ascii_lowercase();
        let known = lower.parse::<AmazonS3ConfigKey>().is_ok()
            || lower.parse::<GoogleConfigKey>().is_ok()
            || lower.parse::<AzureConfigKey>().is_ok()
            || lower.parse::<ClientConfigKey>().is_ok();
        if !known {
            let error = Error::invalid("no store has this option").with("option", key);
            return Err(match nearest(&lower) {
                Some(name) => error.hint(format!("did you mean `{name}`?")),
                None => error.hint("options are named as in `aws_endpoint` or `aws_region`"),
            });
        }
    }
    Ok(())
}

/// The known option that reads most like `key`, if one is near.
fn nearest(key: &str) -> Option<&'static str> {
    OPTIONS
        .iter()
        .map(|name| (strsim::normalized_damerau_levenshtein(key, name), *name))
        .filter(|(likeness, _)| *likeness > 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// The options worth suggesting; each store takes more spellings than these.
const OPTIONS: &[&str] = &[
    "access_key_id",
    "allow_http",
    "allow_invalid_certificates",
    "aws_access_key_id",
    "aws_allow_http",
    "aws_checksum_algorithm",
    "aws_conditional_put",
    "aws_default_region",
    "aws_disable_tagging",
    "aws_endpoint",
    "aws_endpoint_url",
    "aws_endpoint_url_s3",
    "aws_endpoint_url_sts",
    "aws_imdsv1_fallback",
    "aws_region",
    "aws_request_payer",
    "aws_role_arn",
    "aws_role_session_name",
    "aws_s3_express",
    "aws_secret_access_key",
    "aws_server_side_encryption",
    "aws_session_token",
    "aws_skip_signature",
    "aws_sse_bucket_key_enabled",
    "aws_sse_customer_key_base64",
    "aws_sse_kms_key_id",
    "aws_unsigned_payload",
    "aws_virtual_hosted_style_request",
    "aws_web_identity_token_file",
    "azure_client_id",
    "azure_client_secret",
    "azure_federated_token_file",
    "azure_skip_signature",
    "azure_storage_account_key",
    "azure_storage_account_name",
    "azure_storage_endpoint",
    "azure_storage_sas_key",
    "azure_storage_token",
    "azure_storage_use_emulator",
    "azure_tenant_id",
    "azure_use_azure_cli",
    "connect_timeout",
    "endpoint",
    "google_application_credentials",
    "google_base_url",
    "google_service_account",
    "google_service_account_key",
    "google_skip_signature",
    "pool_idle_timeout",
    "proxy_ca_certificate",
    "proxy_excludes",
    "proxy_url",
    "region",
    "secret_access_key",
    "session_token",
    "skip_signature",
    "timeout",
    "user_agent",
    "virtual_hosted_style_request",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suggested_option_is_known() {
        let options: Vec<Pair> = OPTIONS
            .iter()
            .map(|name| ((*name).into(), "x".into()))
            .collect();
        check_options(&options).expect("all are known");
    }
}
