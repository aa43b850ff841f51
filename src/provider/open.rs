//! From a provider's name to the provider.

use std::sync::Arc;

use super::account::{Network, Options};
use super::{Provider, anthropic, openai};
use crate::base::{Error, Result};

/// The providers of this version.
pub const KNOWN: [&str; 2] = [anthropic::NAME, openai::NAME];

/// Opens the provider that `options` name. Reads the environment, and nothing else.
///
/// # Errors
/// `Invalid` for an unknown name or a base URL that is none; `Refused` where there is no key.
pub fn open(options: &Options<'_>, network: Network) -> Result<Arc<dyn Provider>> {
    Ok(match options.provider {
        anthropic::NAME => Arc::new(anthropic::Anthropic::open(options, network)?),
        openai::NAME => Arc::new(openai::OpenAi::open(options, network)?),
        unknown => return Err(not_known(unknown)),
    })
}

fn not_known(name: &str) -> Error {
    let error = Error::invalid("there is no such provider in this version")
        .with("provider", name)
        .with("known", KNOWN.join(", "));
    let folded = name.to_lowercase();
    let nearest = KNOWN
        .into_iter()
        .map(|known| (strsim::jaro_winkler(known, &folded), known))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((likeness, known)) if likeness > 0.7 => error.hint(format!("did you mean {known}?")),
        _ => error.hint(
            "for a server that speaks OpenAI's dialect, use openai/<model> with base_url; \
                 sandbox/<anything> is built in, and needs no key",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ErrorKind;
    use crate::provider::testing::{Vendor, lookup};

    const ENV: [(&str, &str); 2] = [("ANTHROPIC_API_KEY", "key-a"), ("OPENAI_API_KEY", "key-o")];

    fn try_open(
        provider: &str,
        base_url: Option<&str>,
        service: Option<&str>,
        env: &[(&str, &str)],
    ) -> Result<Arc<dyn Provider>> {
        let options = Options {
            provider,
            base_url,
            api_key_env: None,
            service,
            env: &lookup(env),
        };
        open(&options, Vendor::new([]).network())
    }

    #[test]
    fn an_unknown_provider_is_told_of_the_nearest() {
        let error = try_open("Antropic", None, None, &ENV).expect_err("unknown");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("anthropic, openai"), "{error}");
        assert_eq!(error.hint_text(), Some("did you mean anthropic?"));
        let error = try_open("zzz", None, None, &ENV).expect_err("unknown");
        assert!(
            error
                .hint_text()
                .is_some_and(|hint| hint.contains("base_url"))
        );
    }

    #[test]
    fn a_missing_key_names_its_variable() {
        let blank = [("OPENAI_API_KEY", " ")];
        for (provider, env, name) in [
            ("anthropic", &[][..], "ANTHROPIC_API_KEY"),
            ("openai", &blank[..], "OPENAI_API_KEY"),
        ] {
            let error = try_open(provider, None, None, env).expect_err("no key");
            assert_eq!(error.kind(), ErrorKind::Refused);
            assert!(error.to_string().contains(name), "{error}");
        }
        let options = Options {
            provider: "openai",
            base_url: None,
            api_key_env: Some("MY_KEY"),
            service: None,
            env: &lookup(&ENV),
        };
        let error = open(&options, Vendor::new([]).network()).expect_err("no key");
        assert!(
            error.to_string().contains("`MY_KEY`"),
            "the vendor's own is not used: {error}"
        );
    }

    #[test]
    fn the_service_is_the_vendor_only_at_the_vendors_own_endpoint() {
        let check =
            |base: Option<&str>, service: Option<&str>, env: &[(&str, &str)], expect: &str| {
                let provider = try_open("openai", base, service, env).expect("opens");
                assert_eq!(provider.capability().service, expect);
            };
        check(None, None, &ENV, "openai");
        check(Some("https://api.openai.com/v1/"), None, &ENV, "openai");
        check(
            Some("http://localhost:8000/v1"),
            None,
            &ENV,
            "http://localhost:8000",
        );
        check(
            Some("http://localhost:8000/v1"),
            Some("openai"),
            &ENV,
            "openai",
        );
        let mut env = ENV.to_vec();
        env.push(("OPENAI_BASE_URL", "https://proxy.example/openai/v1"));
        check(None, None, &env, "https://proxy.example");
        check(Some("https://api.openai.com/v1"), None, &env, "openai");
    }

    #[test]
    fn an_account_is_an_endpoint_and_a_key_and_shows_neither() {
        let account = |base: Option<&str>, env: &[(&str, &str)]| {
            let provider = try_open("openai", base, None, env).expect("opens");
            let shown = format!("{provider:?} {provider}");
            assert!(!shown.contains("key-"), "{shown}");
            provider.capability().account.clone()
        };
        let own = account(None, &ENV);
        assert_eq!(own, account(Some("https://api.openai.com/v1/"), &ENV));
        let others = [
            account(Some("http://localhost/v1"), &ENV),
            account(None, &[("OPENAI_API_KEY", "key-p")]),
            account(
                None,
                &[("OPENAI_API_KEY", "key-o"), ("OPENAI_PROJECT_ID", "p")],
            ),
            account(None, &[("OPENAI_API_KEY", "key-o"), ("OPENAI_ORG_ID", "p")]),
        ];
        for (at, other) in others.iter().enumerate() {
            assert!(
                *other != own && !others[at + 1..].contains(other),
                "{others:?}"
            );
        }
    }

    #[test]
    fn a_base_url_that_is_none_or_holds_a_password_is_refused_unseen() {
        for base in [
            "localhost:8000",
            "ftp://x.example/",
            "https://user:hunter2@x.example/v1",
            "https://x.example/v1?key=hunter2",
            "",
        ] {
            let error = try_open("openai", Some(base), None, &ENV).expect_err(base);
            assert_eq!(error.kind(), ErrorKind::Invalid, "{base}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
