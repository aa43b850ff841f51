//! How to go on after an interrupt: the same command again. The line ends in logs, so that what
//! may be a secret is left out of it, for its reader to put back.

use crate::cli::args::OnInterrupt;

/// The flag whose values are kept to ourselves, whatever they are called.
const STORAGE_OPTION: &str = "--storage-option";
/// How the name of a secret ends, in small letters and with `_` for `-`.
const SECRETS: [&str; 11] = [
    "access_key",
    "api_key",
    "apikey",
    "credential",
    "credentials",
    "passwd",
    "password",
    "secret",
    "sig",
    "signature",
    "token",
];
/// What stands for what is left out.
const LEFT_OUT: &str = "...";

/// The line that says how to call the program again, which was called by `words`.
pub(in crate::cli) fn line(
    words: impl Iterator<Item = String>,
    on_interrupt: OnInterrupt,
) -> String {
    let mut shown: Vec<String> = Vec::new();
    let mut before = String::new();
    for word in words {
        let is_option = before == STORAGE_OPTION;
        shown.push(quoted(&without_secrets(&word, is_option)));
        before = word;
    }
    let batches = match on_interrupt {
        OnInterrupt::Cancel => "open batches were asked to stop",
        OnInterrupt::Leave => "open batches go on at the provider",
    };
    format!("interrupted; {batches}. To resume: {}", shown.join(" "))
}

/// `word` as a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// `word` with dots for secrets; a storage option's value is always one.
fn without_secrets(word: &str, is_option: bool) -> String {
    let (flag, pair) = match word.split_once('=') {
        Some((flag, pair)) if flag.starts_with("--") => (format!("{flag}="), pair),
        _ => (String::new(), word),
    };
    let is_option = is_option || flag.strip_suffix('=') == Some(STORAGE_OPTION);
    match pair.split_once('=') {
        _ if is_secret(flag.trim_end_matches('=')) => format!("{flag}{LEFT_OUT}"),
        Some((name, _)) if is_option || is_secret(name) => format!("{flag}{name}={LEFT_OUT}"),
        None if is_option => format!("{flag}{LEFT_OUT}"),
        _ => format!("{flag}{}", without_url_secrets(pair)),
    }
}

/// A URL without its user and without the values of secrets in its query; any other text as it is.
fn without_url_secrets(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let authority = match authority.rsplit_once('@') {
        // Azure's `abfss://container@account` names no user.
        Some((_, host)) if !scheme.contains("abfs") => format!("{LEFT_OUT}@{host}"),
        _ => authority.to_owned(),
    };
    let Some((path, query)) = path.split_once('?') else {
        return format!("{scheme}://{authority}{path}");
    };
    let parts = query.split('&').map(|part| match part.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}={LEFT_OUT}"),
        _ => part.to_owned(),
    });
    let query = parts.collect::<Vec<_>>().join("&");
    format!("{scheme}://{authority}{path}?{query}")
}

/// Whether what is called `name` is a secret.
fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase().replace('-', "_");
    SECRETS.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(words: &[&str], shown: &str) {
        let words = words.iter().map(|word| (*word).to_owned());
        let line = line(words, OnInterrupt::Leave);
        let (_, command) = line.split_once("To resume: ").expect("a command");
        assert_eq!(command, shown);
    }

    #[test]
    fn secrets_are_left_out() {
        check(
            &[
                "columnist",
                "--storage-option",
                "aws_secret_access_key=SUPERSECRET",
                "run",
            ],
            "columnist --storage-option aws_secret_access_key=... run",
        );
        check(
            &["--storage-option=aws_secret_access_key=SUPER=SECRET", "run"],
            "--storage-option=aws_secret_access_key=... run",
        );
        check(&["--storage-option", "SUPERSECRET"], "--storage-option ...");
        check(
            &[
                "--var",
                "crm_token=SUPER&SECRET",
                "--var=password=SUPERSECRET",
            ],
            "--var crm_token=... --var=password=...",
        );
        check(
            &[
                "--set",
                "model.api_key=\"SUPERSECRET\"",
                "--api-key=SUPERSECRET",
            ],
            "--set model.api_key=... --api-key=...",
        );
        check(
            &[
                "--base-url=https://me:SUPERSECRET@host/v1",
                "--table",
                "https://h/x?a=1&X-Amz-Signature=SUPER&sig=SECRET",
            ],
            "--base-url=https://...@host/v1 --table 'https://h/x?a=1&X-Amz-Signature=...&sig=...'",
        );
    }

    #[test]
    fn all_else_can_be_pasted_into_a_shell() {
        check(
            &["columnist", "run", "it's a job.toml"],
            r"columnist run 'it'\''s a job.toml'",
        );
        let plain = "run --var day=2026-01-01 --api-key-env=KEY --max-output-tokens=64 \
                     --table abfss://box@me.net/in.parquet --output s3://lake/risk-token/out.parquet";
        check(&plain.split(' ').collect::<Vec<_>>(), plain);
        check(
            &["--prompt=", "--table", "s3://b/x?.parquet"],
            "--prompt= --table 's3://b/x?.parquet'",
        );
    }
}
