//! Files and objects whose addresses stand in rows. A row is data, and may be hostile: nothing is read but what
//! lies under the prefixes that the job names.

use std::path::PathBuf;
use std::sync::Arc;

use object_store::path::Path;

use super::web::is_web;
use crate::base::{Error, Location, Result, Stores};

/// The places that rows may name.
#[derive(Debug)]
pub(crate) struct Objects {
    stores: Arc<Stores>,
    prefixes: Vec<Prefix>,
}

#[derive(Debug)]
struct Prefix {
    place: Location,
    /// The folder behind all symbolic links, where it is on this machine.
    real: Option<PathBuf>,
}

impl Objects {
    /// The places beneath those of `prefixes` that are folders, and not URLs.
    ///
    /// # Errors
    /// `Invalid` if one cannot be read from.
    pub(crate) fn new(stores: &Arc<Stores>, prefixes: &[String]) -> Result<Objects> {
        let prefixes = prefixes.iter().filter(|prefix| !is_web(prefix));
        let prefixes = prefixes.map(|prefix| {
            let place = stores.locate(prefix)?;
            let real = match &place.local {
                Some(local) => Some(local.canonicalize().map_err(|error| {
                    Error::invalid("a folder of `prompt.attachments_from` cannot be read")
                        .with("folder", local.display())
                        .because(error)
                })?),
                None => None,
            };
            Ok(Prefix { place, real })
        });
        Ok(Objects {
            stores: Arc::clone(stores),
            prefixes: prefixes.collect::<Result<_>>()?,
        })
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.prefixes.is_empty()
    }

    /// The place that `address` names: absolute, or beneath the one prefix there is.
    ///
    /// # Errors
    /// Why nothing is read there, in a sentence.
    pub(crate) fn locate(&self, address: &str) -> std::result::Result<Location, String> {
        let is_relative = !address.starts_with('/') && !address.contains("://");
        let place = match &self.prefixes[..] {
            [] => {
                return Err(
                    "it is no URL, and paths are read under `[prompt] attachments_from` alone"
                        .into(),
                );
            }
            [only] if is_relative => beneath(only, address, &self.stores)?,
            _ if is_relative => {
                return Err(
                    "it is a relative path, and `attachments_from` has several folders".into(),
                );
            }
            _ => self
                .stores
                .locate(address)
                .map_err(|error| error.to_string())?,
        };
        if !self.prefixes.iter().any(|prefix| prefix.holds(&place)) {
            return Err("it lies outside of `[prompt] attachments_from`".into());
        }
        // Whoever opens a pipe waits for somebody to write into it.
        match place.local.as_ref().map(|local| local.metadata()) {
            Some(Ok(there)) if !there.is_file() => Err("it is no file".into()),
            _ => Ok(place),
        }
    }
}

/// The place `path` beneath a prefix.
fn beneath(prefix: &Prefix, path: &str, stores: &Stores) -> std::result::Result<Location, String> {
    // A step to where one is leads nowhere.
    let parts: Vec<_> = path.split('/').filter(|part| *part != ".").collect();
    if parts.contains(&"..") {
        return Err("its path leads out of its folder".into());
    }
    let path = &parts.join("/");
    let said = |error: Error| error.to_string();
    if let Some(local) = &prefix.place.local {
        let path = local.join(path.trim_start_matches('/'));
        let text = path.to_str().ok_or("its path is not Unicode")?;
        return stores.locate(text).map_err(said);
    }
    // The name as it is: what looks like an escape is none.
    let whole = format!("{}/{path}", prefix.place.path);
    let whole = Path::parse(whole).map_err(|error| error.to_string())?;
    Ok(Location {
        path: whole,
        ..prefix.place.join(path)
    })
}

impl Prefix {
    fn holds(&self, place: &Location) -> bool {
        let (own, other) = (&self.place.url, &place.url);
        if own.scheme() != other.scheme() || own.authority() != other.authority() {
            return false;
        }
        match (&self.real, &place.local) {
            // A link may lead anywhere.
            (Some(real), Some(local)) => match local.canonicalize() {
                Ok(path) => path.starts_with(real),
                // What is not there is said by whoever reads it.
                Err(_) => place.path.prefix_matches(&self.place.path),
            },
            _ => place.path.prefix_matches(&self.place.path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_read_outside_of_the_prefixes() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().canonicalize().expect("a path");
        let inside = root.join("photos");
        std::fs::create_dir_all(inside.join("deep")).expect("a folder");
        std::fs::create_dir_all(root.join("photos-of-others")).expect("a folder");
        for name in [
            "photos/a.png",
            "secret.png",
            "photos-of-others/b.png",
            "photos/deep/c.png",
        ] {
            std::fs::write(root.join(name), b"x").expect("a file");
        }
        std::os::unix::fs::symlink(root.join("secret.png"), inside.join("link.png"))
            .expect("a link");
        let stores = Arc::new(Stores::default());
        let text = |path: PathBuf| path.to_str().expect("text").to_owned();
        let objects = Objects::new(&stores, &[text(inside.clone())]).expect("a folder");
        for (address, is_read) in [
            (text(inside.join("a.png")), true),
            ("a.png".into(), true),
            ("deep/c.png".into(), true),
            (format!("file://{}/a.png", inside.display()), true),
            (text(root.join("secret.png")), false),
            (text(root.join("photos-of-others/b.png")), false),
            (format!("{}/../secret.png", inside.display()), false),
            ("../secret.png".into(), false),
            ("deep/../../secret.png".into(), false),
            ("link.png".into(), false),
            (text(inside.join("link.png")), false),
            ("s3://bucket/a.png".into(), false),
            ("/etc/passwd".into(), false),
        ] {
            assert_eq!(objects.locate(&address).is_ok(), is_read, "{address}");
        }
        let none = Objects::new(&stores, &[]).expect("no folder");
        assert!(none.locate(&text(inside.join("a.png"))).is_err());
    }

    #[test]
    fn names_are_taken_as_they_are() {
        let folder = tempfile::tempdir().expect("a folder");
        let stores = Arc::new(Stores::default());
        let local = folder.path().to_str().expect("text").to_owned();
        for prefix in [local, "memory:///lake/photos/".to_owned()] {
            let objects = Objects::new(&stores, &[prefix]).expect("a place");
            let located = |address: &str| objects.locate(address).expect("a place");
            let names = [
                "\u{e4}.png",
                "%C3%A4.png",
                "[1].png",
                "~a.png",
                "a#b.png",
                "a?b.png",
                "100%.png",
                "a*b.png",
                "a\\b.png",
                "a b.png",
                "\u{4e2d}/a.png",
            ];
            for name in names {
                let place = located(name);
                assert!(
                    place.path.as_ref().ends_with(&format!("/{name}")) || place.local.is_some()
                );
                // As it is found again when it is sent.
                let again = located(place.url.as_str());
                assert_eq!(
                    (&again.path, &again.local),
                    (&place.path, &place.local),
                    "{name}"
                );
                let stepped = located(&format!("./{}", name.replace('/', "/./")));
                assert_eq!(
                    (&stepped.path, &stepped.local),
                    (&place.path, &place.local),
                    "{name}"
                );
                if let Some(local) = &place.local {
                    assert!(local.ends_with(name), "{name}");
                }
            }
            for out in ["..", "../a", "./../a", "a/../../b", "./.."] {
                assert!(objects.locate(out).is_err(), "{out}");
            }
        }
    }

    #[test]
    fn a_bucket_is_not_another_and_a_prefix_ends_with_a_name() {
        let stores = Arc::new(Stores::default());
        let objects =
            Objects::new(&stores, &["memory:///lake/photos/".to_owned()]).expect("a place");
        for (address, is_read) in [
            ("memory:///lake/photos/a.png", true),
            ("memory:///lake/photos-2/a.png", false),
            ("memory:///lake/photos/../keys", false),
            ("memory:///lake/photos/%2e%2e/keys", false),
            ("memory:///other/photos/a.png", false),
        ] {
            assert_eq!(objects.locate(address).is_ok(), is_read, "{address}");
        }
    }
}
