//! The files in which the AWS tools keep their profiles: `~/.aws/config` and `~/.aws/credentials`.
//!
//! What is read of a profile: keys, `credential_process`, a session of IAM Identity Center (SSO), `region`, and
//! the endpoint. A profile that takes on a role is refused with the way out: the tools can do it for us.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::base::{Error, Result};

type Pair = (String, String);
/// A section's settings; one beneath another is `outer.inner`.
type Section = BTreeMap<String, String>;

/// A profile.
pub(super) struct Profile {
    /// Its name.
    pub(super) name: String,
    /// Whether it was asked for by its name.
    pub(super) is_named: bool,
    /// Where the tools keep what SSO gave them.
    pub(super) cache: PathBuf,
    config: Section,
    credentials: Section,
    session: Option<(String, Section)>,
    services: Section,
}

/// How a profile comes by its keys.
pub(super) enum Means {
    /// They are written there.
    Keys {
        id: String,
        secret: SecretString,
        token: Option<SecretString>,
    },
    /// A command prints them.
    Process(String),
    /// A session of IAM Identity Center gives them.
    Sso(Sso),
}

/// A session of IAM Identity Center, and what is asked of it.
pub(super) struct Sso {
    pub(super) account: String,
    pub(super) role: String,
    pub(super) region: String,
    /// What the token's file is named after: the session, or the address where it begins.
    pub(super) session: String,
}

impl Profile {
    /// The profile that `variables` name, or the default one; none, if there is no such file or section.
    ///
    /// # Errors
    /// `Invalid` if a profile is named that is not there, or the files cannot be read.
    pub(super) fn read(variables: &[Pair]) -> Result<Option<Profile>> {
        let get = |name: &str| {
            let found = variables
                .iter()
                .find(|(key, value)| key == name && !value.is_empty());
            found.map(|(_, value)| value.as_str())
        };
        let named = get("AWS_PROFILE").or_else(|| get("AWS_DEFAULT_PROFILE"));
        let home = get("HOME").map(PathBuf::from);
        let place = |variable: &str, file: &str| match get(variable) {
            Some(path) => Some(expanded(path, home.as_deref())),
            None => Some(home.as_ref()?.join(".aws").join(file)),
        };
        let config = read_file(place("AWS_CONFIG_FILE", "config"))?;
        let credentials = read_file(place("AWS_SHARED_CREDENTIALS_FILE", "credentials"))?;
        let name = named.unwrap_or("default");
        let section = |kind: &str, name: &str| config.get(&format!("{kind}{name}")).cloned();
        let own = match name {
            "default" => section("", name).or_else(|| section("profile ", name)),
            _ => section("profile ", name),
        };
        let secrets = credentials.get(name).cloned();
        if own.is_none() && secrets.is_none() {
            return match named {
                Some(name) => Err(missing(name, &config, &credentials)),
                None => Ok(None),
            };
        }
        let own = own.unwrap_or_default();
        let of = |key: &str, kind: &str| {
            let name = own.get(key)?;
            Some((name.clone(), section(kind, name).unwrap_or_default()))
        };
        Ok(Some(Profile {
            name: name.to_owned(),
            is_named: named.is_some(),
            cache: home.unwrap_or_default().join(".aws/sso/cache"),
            session: of("sso_session", "sso-session "),
            services: of("services", "services ")
                .map(|(_, section)| section)
                .unwrap_or_default(),
            config: own,
            credentials: secrets.unwrap_or_default(),
        }))
    }

    fn get(&self, key: &str) -> Option<&str> {
        let found = self.credentials.get(key).or_else(|| self.config.get(key));
        found.map(String::as_str)
    }

    /// The region that it names.
    pub(super) fn region(&self) -> Option<&str> {
        self.get("region")
    }

    /// The address of S3 that it names.
    pub(super) fn endpoint(&self) -> Option<&str> {
        let of_s3 = self.services.get("s3.endpoint_url").map(String::as_str);
        of_s3.or_else(|| self.get("endpoint_url"))
    }

    /// How it comes by keys, in the order in which the AWS tools look; none, if it says nothing of keys.
    pub(super) fn means(&self) -> Result<Option<Means>> {
        if let Some(key) = ["role_arn", "web_identity_token_file"]
            .into_iter()
            .find(|key| self.get(key).is_some())
        {
            return Err(Error::invalid("a profile that takes on a role is not read here")
                .with("profile", &self.name)
                .with("setting", key)
                .hint(format!(
                    "let the AWS tools do it: a profile with `credential_process = aws configure export-credentials --profile {} --format process`, \
                     or `eval \"$(aws configure export-credentials --profile {} --format env)\"`",
                    self.name, self.name
                )));
        }
        if let Some(sso) = self.sso() {
            return sso.map(Means::Sso).map(Some);
        }
        if let Some(keys) = keys_in(&self.credentials) {
            return Ok(Some(keys));
        }
        if let Some(command) = self.get("credential_process") {
            return Ok(Some(Means::Process(command.to_owned())));
        }
        Ok(keys_in(&self.config))
    }

    fn sso(&self) -> Option<Result<Sso>> {
        let account = self.get("sso_account_id")?.to_owned();
        let role = self.get("sso_role_name")?.to_owned();
        let (session, section) = match &self.session {
            Some((name, section)) => (Some(name.as_str()), section),
            None => (self.get("sso_start_url"), &self.config),
        };
        let region = section.get("sso_region").cloned();
        Some(match (session, region) {
            (Some(session), Some(region)) => Ok(Sso {
                account,
                role,
                region,
                session: session.to_owned(),
            }),
            _ => Err(
                Error::invalid("a profile of IAM Identity Center is not complete")
                    .with("profile", &self.name)
                    .hint(format!(
                        "`aws configure sso --profile {}` writes it anew",
                        self.name
                    )),
            ),
        })
    }
}

fn keys_in(section: &Section) -> Option<Means> {
    Some(Means::Keys {
        id: section.get("aws_access_key_id")?.clone(),
        secret: section.get("aws_secret_access_key")?.clone().into(),
        token: section.get("aws_session_token").cloned().map(Into::into),
    })
}

fn missing(name: &str, config: &Sections, credentials: &Sections) -> Error {
    let of_config = config.keys().filter_map(|name| match name.as_str() {
        "default" => Some("default"),
        name => name.strip_prefix("profile "),
    });
    let mut known: Vec<&str> = of_config
        .chain(credentials.keys().map(String::as_str))
        .collect();
    known.sort_unstable();
    known.dedup();
    let hint = match known.as_slice() {
        [] => "there is no profile at all in `~/.aws/config` and `~/.aws/credentials`".to_owned(),
        known => format!("those that are there: {}", known.join(", ")),
    };
    Error::invalid("there is no such AWS profile")
        .with("profile", name)
        .hint(hint)
}

fn expanded(path: &str, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(path),
    }
}

type Sections = BTreeMap<String, Section>;

fn read_file(path: Option<PathBuf>) -> Result<Sections> {
    let Some(path) = path else {
        return Ok(Sections::new());
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(parse(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Sections::new()),
        Err(error) => Err(Error::invalid("cannot read the AWS profiles")
            .with("file", path.display())
            .because(error)),
    }
}

/// The sections of a file. What is no section, setting or comment is passed by, as the AWS tools do.
fn parse(text: &str) -> Sections {
    let mut sections = Sections::new();
    let mut section: Option<String> = None;
    let mut outer = String::new();
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(head) = trimmed
            .strip_prefix('[')
            .and_then(|rest| rest.split_once(']'))
        {
            let words: Vec<&str> = head.0.split_whitespace().collect();
            section = Some(words.join(" ").replace(['"', '\''], ""));
            sections
                .entry(section.clone().unwrap_or_default())
                .or_default();
            continue;
        }
        let (Some(section), Some((key, value))) = (&section, trimmed.split_once('=')) else {
            continue;
        };
        let is_inner = line.starts_with([' ', '\t']) && !outer.is_empty();
        let key = key.trim().to_ascii_lowercase();
        let key = if is_inner {
            format!("{outer}.{key}")
        } else {
            key
        };
        let value = value.trim();
        if !is_inner {
            outer = if value.is_empty() {
                key.clone()
            } else {
                String::new()
            };
        }
        if let Some(settings) = sections.get_mut(section)
            && !value.is_empty()
        {
            settings.insert(key, value.to_owned());
        }
    }
    sections
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    const CONFIG: &str = "\
[default]
region = eu-central-1
; a comment
[profile \"nightly\"]
credential_process = /opt/keys --for \"a b\"
services = local
endpoint_url = https://all.example
[services local]
s3 =
  endpoint_url = http://127.0.0.1:9000
dynamodb =
  endpoint_url = http://127.0.0.1:9001
[profile people]
sso_session = corp
sso_account_id = 123456789012
sso_role_name = Reader
[sso-session corp]
sso_region = us-east-2
sso_start_url = https://corp.example/start
[profile old]
sso_start_url = https://old.example/start
sso_region = us-west-2
sso_account_id = 1
sso_role_name = R
[profile role]
role_arn = arn:aws:iam::1:role/x
source_profile = default
";
    const CREDENTIALS: &str = "\
[default]
aws_access_key_id = AKIA
aws_secret_access_key = se=cret
[tokened]
aws_access_key_id=ASIA
aws_secret_access_key=s
aws_session_token=t
region=ap-south-1
";

    fn profile(name: &str) -> Result<Option<Profile>> {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join(".aws")).expect("made");
        std::fs::write(folder.path().join(".aws/config"), CONFIG).expect("written");
        std::fs::write(folder.path().join("c"), CREDENTIALS).expect("written");
        let home = folder.path().display().to_string();
        let variables = [
            ("AWS_PROFILE", name.to_owned()),
            ("AWS_SHARED_CREDENTIALS_FILE", "~/c".to_owned()),
            ("HOME", home),
        ];
        Profile::read(&variables.map(|(key, value)| (key.to_owned(), value)))
    }

    fn there(name: &str) -> Profile {
        profile(name).expect("can be read").expect("is there")
    }

    #[test]
    fn keys_come_from_either_file() {
        let default = there("");
        assert!(!default.is_named);
        assert_eq!(default.region(), Some("eu-central-1"));
        let Ok(Some(Means::Keys { id, secret, token })) = default.means() else {
            panic!("keys are written there");
        };
        assert_eq!((id.as_str(), secret.expose_secret()), ("AKIA", "se=cret"));
        assert!(token.is_none());
        let tokened = there("tokened");
        assert_eq!(tokened.region(), Some("ap-south-1"));
        let Ok(Some(Means::Keys { token, .. })) = tokened.means() else {
            panic!("keys are written there");
        };
        assert_eq!(token.expect("a token").expose_secret(), "t");
    }

    #[test]
    fn commands_sessions_and_services_are_found() {
        let nightly = there("nightly");
        let Ok(Some(Means::Process(command))) = nightly.means() else {
            panic!("a command is written there");
        };
        assert_eq!(command, "/opt/keys --for \"a b\"");
        assert_eq!(nightly.endpoint(), Some("http://127.0.0.1:9000"));
        for (name, session, region) in [
            ("people", "corp", "us-east-2"),
            ("old", "https://old.example/start", "us-west-2"),
        ] {
            let Ok(Some(Means::Sso(sso))) = there(name).means() else {
                panic!("a session is written there");
            };
            assert_eq!(
                (sso.session.as_str(), sso.region.as_str()),
                (session, region)
            );
        }
    }

    #[test]
    fn what_is_not_there_or_not_read_is_said() {
        let error = profile("nobody").err().expect("is not there");
        assert!(
            error
                .hint_text()
                .is_some_and(|hint| hint.contains("nightly, old, people")),
            "{error:?}"
        );
        let error = there("role").means().err().expect("takes on a role");
        assert!(
            error
                .hint_text()
                .is_some_and(|hint| hint.contains("export-credentials --profile role")),
            "{error:?}"
        );
        assert!(Profile::read(&[]).expect("no files").is_none());
    }
}
