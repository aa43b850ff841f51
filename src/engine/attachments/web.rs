//! URLs that stand in rows, and that are read from here because they lie under a prefix that the job names.
//!
//! A row is data, and may be hostile, and so may be the server. Of a URL nothing but its path is the row's
//! choice: scheme, host and port are those of a prefix, also after a redirect. A host's name leads to public
//! addresses alone, which is seen to where the connection is made; an address that the job itself writes as a
//! number is its author's word, and may be a private one. What comes is read up to a limit, in limited time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::TryStreamExt;
use url::{Host, Url};

use crate::base::backoff::{Backoff, Delay, asked_wait, is_worth_repeating};
use crate::base::http::{
    HeaderValue, HttpError, HttpRequest, HttpResponse, HttpService, Method, StatusCode, header,
    is_link_local, shown, target,
};
use crate::base::{Clock, Components, Error, ErrorKind, Ids, Result};

use super::whole::{Reading, Whole, too_long};

/// How long one try at one URL may take.
const TRY_MAX: Duration = Duration::from_mins(2);
/// How often a URL is tried again.
const AGAIN: Backoff = Backoff {
    retries_max: 2,
    first: Duration::from_millis(500),
    longest: Duration::from_secs(8),
    asked_max: Duration::from_secs(30),
};
/// How often a URL is sent on.
const REDIRECTS_MAX: u32 = 5;
/// After so many URLs in a row that no server could give, the servers are away, and not the pictures.
const AWAY_AFTER: u32 = 20;

/// The URLs that are read from here.
#[derive(Debug)]
pub(crate) struct Web {
    http: Arc<dyn HttpService>,
    clock: Arc<dyn Clock>,
    ids: Arc<Ids>,
    prefixes: Vec<Url>,
    /// URLs that no server could give, since one could.
    missed: AtomicU32,
}

/// Who reads what a URL leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReadBy {
    /// We do, here.
    Us(Url),
    /// The provider.
    Provider,
    /// Nobody, for this reason.
    Nobody(&'static str),
}

/// Why nothing was read.
#[derive(Debug)]
enum Missed {
    /// Trying again would change nothing.
    For(String),
    /// It may work later.
    Passing(String, Option<Duration>),
    /// No server was reached, or none may be.
    Server(Error),
}

/// Whether `address` is a URL that is read over HTTP.
pub(crate) fn is_web(address: &str) -> bool {
    let scheme = address.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| {
        ["http", "https"]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known))
    })
}

impl Web {
    /// What reads the URLs that lie under those of `prefixes` that are URLs themselves.
    ///
    /// # Errors
    /// `Invalid` if one is no prefix of URLs.
    pub(crate) fn new(components: &Components, prefixes: &[String]) -> Result<Web> {
        let urls = prefixes.iter().filter(|prefix| is_web(prefix));
        Ok(Web {
            http: Arc::clone(&components.public_http),
            clock: Arc::clone(&components.clock),
            ids: Arc::clone(&components.ids),
            prefixes: urls.map(|url| prefix(url)).collect::<Result<_>>()?,
            missed: AtomicU32::new(0),
        })
    }

    /// The one prefix, if there is one.
    pub(crate) fn only(&self) -> Option<&Url> {
        match &self.prefixes[..] {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Who reads what `url` leads to.
    pub(crate) fn reader_of(&self, url: &str) -> ReadBy {
        // Blanks around it, tabs and line ends within are not part of a URL.
        match Url::parse(url) {
            Ok(url) => self.of(url),
            Err(_) => ReadBy::Nobody("it is no URL that can be read"),
        }
    }

    fn of(&self, mut url: Url) -> ReadBy {
        url.set_fragment(None);
        let is_there = |prefix: &&Url| is_same_server(prefix, &url) && lies_beneath(prefix, &url);
        if !self.prefixes.iter().any(|prefix| is_there(&prefix)) {
            return ReadBy::Provider;
        }
        if !url.username().is_empty() || url.password().is_some() {
            return ReadBy::Nobody("its URL holds credentials");
        }
        if hides_a_way_out(url.path()) {
            return ReadBy::Nobody("its path leads out of its folder");
        }
        ReadBy::Us(url)
    }

    /// Reads `url`, at most `most` bytes of it, of which the first `keep` are kept; or says why the row that
    /// names it cannot be sent. What fails in passing is tried again.
    ///
    /// # Errors
    /// `Unavailable` if its server cannot be reached, or if servers fail again and again; `Invalid` if the
    /// host's name leads to private addresses.
    pub(crate) async fn fetch(
        &self,
        url: &Url,
        most: u64,
        keep: u64,
    ) -> Result<std::result::Result<Whole, String>> {
        let mut tried = 0;
        loop {
            let once = self.once(url.clone(), most, keep);
            let missed = tokio::select! {
                got = once => match got {
                    Ok(fetched) => {
                        self.missed.store(0, Ordering::Relaxed);
                        return Ok(Ok(fetched));
                    }
                    Err(missed) => missed,
                },
                () = self.clock.sleep(TRY_MAX) => {
                    let seconds = TRY_MAX.as_secs();
                    Missed::Passing(format!("it does not come within {seconds} seconds"), None)
                }
            };
            let own = AGAIN.after_silence(tried).map(|own| match own {
                Delay::Asked(wait) => wait,
                Delay::Own(wait) => self.ids.jitter(wait),
            });
            let wait = match (missed, own) {
                (Missed::For(why), _) => {
                    self.missed.store(0, Ordering::Relaxed);
                    return Ok(Err(why));
                }
                (Missed::Passing(why, _), None) => return self.miss(url, why),
                (Missed::Passing(_, asked), Some(own)) => asked.unwrap_or(own),
                (Missed::Server(error), Some(own)) if error.kind() != ErrorKind::Invalid => own,
                (Missed::Server(error), _) => return Err(error),
            };
            self.clock.sleep(wait).await;
            tried += 1;
        }
    }

    /// One URL's trouble is its row's; that of many, one after the other, is the servers'.
    fn miss<T>(&self, url: &Url, why: String) -> Result<std::result::Result<T, String>> {
        if self.missed.fetch_add(1, Ordering::Relaxed) + 1 < AWAY_AFTER {
            return Ok(Err(why));
        }
        Err(
            Error::unavailable("pictures or documents cannot be read from their URLs")
                .with("url", shown(url))
                .with("why", why)
                .hint("try again later"),
        )
    }

    async fn once(&self, mut url: Url, most: u64, keep: u64) -> std::result::Result<Whole, Missed> {
        for _ in 0..=REDIRECTS_MAX {
            let mut request = HttpRequest::new(Method::GET, url.clone());
            // As it lies there: packed bytes would not be those of a picture.
            let identity = HeaderValue::from_static("identity");
            request.headers.insert(header::ACCEPT_ENCODING, identity);
            let response = self.http.send(request).await.map_err(unreached)?;
            let Some(next) = target(&url, &response) else {
                return self.read(response, most, keep).await;
            };
            let server = next.origin().ascii_serialization();
            let ReadBy::Us(next) = self.of(next) else {
                return Err(Missed::For(format!(
                    "its server leads on to {server}, outside of `[prompt] attachments_from`"
                )));
            };
            url = next;
        }
        Err(Missed::For("its redirects do not end".into()))
    }

    async fn read(
        &self,
        mut response: HttpResponse,
        most: u64,
        keep: u64,
    ) -> std::result::Result<Whole, Missed> {
        self.check(&response, most)?;
        let mut reading = Reading::new(most, keep);
        let cut = |_| Missed::Passing("it was cut on its way".into(), None);
        while let Some(part) = response.body.try_next().await.map_err(cut)? {
            reading.take(&part).map_err(Missed::For)?;
        }
        Ok(reading.end())
    }

    /// That what comes is what was asked for.
    fn check(&self, response: &HttpResponse, most: u64) -> std::result::Result<(), Missed> {
        let status = response.status;
        if status != StatusCode::OK {
            let why = format!("its server answers {}", status.as_u16());
            if !is_worth_repeating(status, &response.headers) {
                return Err(Missed::For(why));
            }
            let asked = asked_wait(&response.headers, self.clock.now());
            let asked = asked.filter(|asked| *asked <= AGAIN.asked_max);
            return Err(Missed::Passing(why, asked));
        }
        if let Some(coding) = response.header("content-encoding")
            && !coding.trim().eq_ignore_ascii_case("identity")
        {
            return Err(Missed::For(
                "its server packs it, though it was asked not to".into(),
            ));
        }
        let length = response.header("content-length");
        match length.and_then(|length| length.trim().parse::<u64>().ok()) {
            Some(length) if length > most => Err(Missed::For(too_long(most))),
            _ => Ok(()),
        }
    }
}

fn unreached(error: HttpError) -> Missed {
    match error {
        HttpError::NotSent(error) if error.kind() == ErrorKind::Invalid => {
            Missed::Server(error.hint(
                "write the address as a number into `attachments_from`, if that is meant; or take its prefix out: \
                 the provider reads the URL then",
            ))
        }
        HttpError::NotSent(error) => Missed::Server(error),
        HttpError::Lost(_) => Missed::Passing("its server does not answer".into(), None),
    }
}

/// A prefix of URLs: a folder, whose address ends with a slash.
fn prefix(text: &str) -> Result<Url> {
    let wrong = |why: &str| Error::invalid(why.to_owned()).with("attachments_from", text);
    let mut url = Url::parse(text)
        .map_err(|error| wrong("not a URL that can be read from").because(error))?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("a prefix of URLs has no query and no fragment"));
    }
    let number = match url.host() {
        Some(Host::Ipv4(address)) => Some(address.into()),
        Some(Host::Ipv6(address)) => Some(address.into()),
        _ => None,
    };
    if number.is_some_and(is_link_local) {
        return Err(wrong(
            "nothing is read from an address that only neighbours have: a machine's keys may lie there",
        ));
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

/// Whether both are asked of one server. A URL that was parsed has its host in lower case, and no port that
/// its scheme implies.
fn is_same_server(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin()
}

/// Whether the path of `url` goes on where that of `prefix` ends, part by part, however they are written.
fn lies_beneath(prefix: &Url, url: &Url) -> bool {
    let folder = prefix.path().trim_end_matches('/').split('/');
    let mut parts = url.path().split('/');
    let is_beneath = folder
        .map(|part| decoded(part.as_bytes()))
        .all(|part| parts.next().map(|own| decoded(own.as_bytes())) == Some(part));
    is_beneath && parts.next().is_some()
}

/// Whether a server that decodes a path, perhaps several times, would find a step up in it. One that stands
/// in the open was resolved when the URL was parsed.
fn hides_a_way_out(path: &str) -> bool {
    let mut path = path.as_bytes().to_vec();
    loop {
        let next = decoded(&path);
        if next == path {
            break;
        }
        path = next;
    }
    let parts = path.split(|byte| matches!(byte, b'/' | b'\\'));
    // Some servers pass by what follows a semicolon.
    parts
        .filter_map(|part| part.split(|byte| *byte == b';').next())
        .any(|part| part.trim_ascii() == b"..")
}

/// `text` with the bytes that its percent signs stand for.
fn decoded(text: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let digits = (digit(text.get(at + 1)), digit(text.get(at + 2)));
        if let (b'%', (Some(high), Some(low))) = (byte, digits) {
            out.push(u8::try_from(high * 16 + low).unwrap_or_default());
            at += 3;
        } else {
            out.push(*byte);
            at += 1;
        }
    }
    out
}
