//! URLs in rows that the job has read from here: what lies under its prefixes and nothing else, whatever the row
//! says, the server does or a name leads to.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION};
use axum::response::{IntoResponse, Response};
use columnist::base::http::{Names, RouterService, SystemHttp};
use columnist::base::{ErrorKind, IoRuntime};
use columnist::emulator::SandboxConfig;
use columnist::engine;
use futures::future::BoxFuture;
use futures::{FutureExt, stream};
use serde_json::json;

use crate::attachments::{answer_to, ids, picture, pictures, texts, write};
use crate::world::{VENDORS, World, hash, read_table};

/// The Internet: what each URL answers to its nth caller, and who was called.
#[derive(Clone, Default)]
struct Internet {
    pages: Arc<Mutex<HashMap<String, Page>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

type Page = Arc<dyn Fn(usize) -> Response + Send + Sync>;

impl Internet {
    fn put(&self, url: &str, page: impl Fn(usize) -> Response + Send + Sync + 'static) {
        let mut pages = self.pages.lock().expect("no panic");
        pages.insert(url.to_owned(), Arc::new(page));
    }

    fn put_bytes(&self, url: &str, bytes: &[u8]) {
        let bytes = Bytes::copy_from_slice(bytes);
        self.put(url, move |_| bytes.clone().into_response());
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").clone()
    }

    fn times(&self, url: &str) -> usize {
        self.asked().iter().filter(|asked| *asked == url).count()
    }

    fn service(&self) -> Arc<RouterService> {
        let own = self.clone();
        let answer = move |request: Request| {
            let own = own.clone();
            async move {
                let url = request.uri().to_string();
                assert_eq!(request.headers()["accept-encoding"], "identity");
                let times = own.times(&url);
                own.asked.lock().expect("no panic").push(url.clone());
                let page = own.pages.lock().expect("no panic").get(&url).cloned();
                match page {
                    Some(page) => page(times),
                    None => StatusCode::NOT_FOUND.into_response(),
                }
            }
        };
        Arc::new(RouterService::new(Router::new().fallback(answer)))
    }
}

/// A world whose rows have `urls`, of which those under `https://cdn.example/a/` are read from here.
fn world(vendor: &'static str, internet: &Internet, urls: &[&str]) -> World {
    let mut world = pictures(vendor, "", 1);
    set(&mut world, internet, urls);
    world
}

fn set(world: &mut World, internet: &Internet, urls: &[&str]) {
    world.components.public_http = internet.service();
    let photos = texts(urls.iter().map(|url| Some(*url)).collect());
    let columns = vec![("id", ids(urls.len())), ("photo", photos)];
    write(&world.path("in.parquet"), columns);
    world.job["prompt"]["user"] = "{{ photo }}{{ id }}".into();
    world.job["prompt"]["images"] = json!(["photo"]);
    world.job["prompt"]["attachments_from"] = json!(["https://cdn.example/a/"]);
    world.job["budget"]["max_failed"] = json!({ "rows": urls.len() });
}

/// What became of each row: its answer, or why it has none.
fn came(world: &World) -> Vec<String> {
    let table = read_table(&world.path("out.parquet"));
    let rows = table["label"].iter().zip(&table["label_error"]);
    rows.map(|(label, error)| label.clone().or(error.clone()).unwrap_or_default())
        .collect()
}

/// How the answer to row `n` ends that went with `sent`.
fn answered(n: usize, sent: &str) -> String {
    format!(" #{:016x}", hash(&format!("{n}\n{sent}")))
}

/// Read here, and which picture comes.
const HERE: [(&str, u8); 7] = [
    ("https://cdn.example/a/1.png", 1),
    ("HTTPS://CDN.Example:443/a/1.png#x", 1),
    ("https://cdn.example/a/x/../1.png", 1),
    ("https://cdn.example/b/../a/./1.png", 1),
    ("https://cdn.example/%61/1.png", 1),
    ("https://cdn.example/a/\u{e4} b.png?w=1", 2),
    ("https://cdn.example/a/in", 1),
];

/// Read by the provider, as they are.
const PROVIDER: [&str; 11] = [
    "https://cdn.example/a/../secret.png",
    "https://cdn.example/a/%2e%2E/secret.png",
    "https://cdn.example/ab/1.png",
    "https://cdn.example/a",
    "https://cdn.example/A/1.png",
    "https://cdn.example.evil/a/1.png",
    "https://cdn.example@evil.example/a/1.png",
    "https://evil.example/https://cdn.example/a/1.png",
    "http://cdn.example/a/1.png",
    "https://cdn.example:8443/a/1.png",
    "https://cdn.example./a/1.png",
];

const CREDENTIALS: &str = "its URL holds credentials";
const LEADS_OUT: &str = "its path leads out of its folder";
const OUTSIDE: &str = "outside of `[prompt] attachments_from`";
const NO_PATHS: &str = "paths are read under `[prompt] attachments_from` alone";

/// Read by nobody, and why.
const NOBODY: [(&str, &str); 15] = [
    ("https://me:pw@cdn.example/a/1.png", CREDENTIALS),
    ("https://me@cdn.example/a/1.png", CREDENTIALS),
    ("https://cdn.example/a/..%2fsecret.png", LEADS_OUT),
    (
        "https://cdn.example/a/x/%252e%252e%252F..%5Csecret",
        LEADS_OUT,
    ),
    ("https://cdn.example/a/..;x/secret.png", LEADS_OUT),
    (
        "https://[cdn.example/a/1.png",
        "it is no URL that can be read",
    ),
    ("https://cdn.example/a/none.png", "its server answers 404"),
    ("https://cdn.example/a/out", OUTSIDE),
    ("https://cdn.example/a/evil", OUTSIDE),
    ("https://cdn.example/a/down", OUTSIDE),
    ("https://cdn.example/a/inner", OUTSIDE),
    ("https://cdn.example/a/circle", "its redirects do not end"),
    ("../secret.png", LEADS_OUT),
    ("/etc/passwd", NO_PATHS),
    ("file:///etc/passwd", NO_PATHS),
];

/// An Internet with two pictures, and servers that lead on.
fn leading_on() -> Internet {
    let internet = Internet::default();
    for url in [
        "https://cdn.example/a/1.png",
        "https://cdn.example/%61/1.png",
    ] {
        internet.put_bytes(url, &picture(1));
    }
    internet.put_bytes("https://cdn.example/a/%C3%A4%20b.png?w=1", &picture(2));
    for (name, to) in [
        ("in", "x/../1.png#there"),
        ("out", "/secret.png"),
        ("evil", "https://evil.example/a/1.png"),
        ("down", "http://cdn.example/a/1.png"),
        ("inner", "http://169.254.169.254/latest/"),
        ("circle", "circle"),
    ] {
        internet.put(&at(name), move |_| {
            (StatusCode::FOUND, [(LOCATION, to)]).into_response()
        });
    }
    internet
}

fn at(name: &str) -> String {
    format!("https://cdn.example/a/{name}")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_under_a_prefix_is_read_here_and_all_else_by_the_provider() {
    let internet = leading_on();
    for vendor in VENDORS {
        let here = HERE.iter().map(|(url, _)| *url);
        let nobody = NOBODY.iter().map(|(url, _)| *url);
        let urls: Vec<_> = here.chain(PROVIDER).chain(nobody).collect();
        let world = world(vendor, &internet, &urls);
        world.run().await.expect("a run");
        let came = came(&world);
        let (here, rest) = came.split_at(HERE.len());
        let (provider, nobody) = rest.split_at(PROVIDER.len());
        for (n, (came, (url, picture_of))) in here.iter().zip(HERE).enumerate() {
            let expect = answer_to(&n.to_string(), &[&picture(picture_of)]);
            assert!(came.ends_with(&expect), "{url}: {came}");
        }
        for (n, (came, url)) in provider.iter().zip(PROVIDER).enumerate() {
            assert!(
                came.ends_with(&answered(n + HERE.len(), url)),
                "{url}: {came}"
            );
        }
        for (came, (url, why)) in nobody.iter().zip(NOBODY) {
            assert!(
                came.starts_with("image of column `photo`: "),
                "{url}: {came}"
            );
            assert!(came.ends_with(why), "{url}: {came}");
        }
        let asked = internet.asked();
        let ours =
            |url: &String| url.starts_with(&at("")) || url == "https://cdn.example/%61/1.png";
        assert!(asked.iter().all(ours), "{asked:?}");
        // What was read is what is asked about, wherever it lies.
        let billed = world.bill().distinct_billed;
        world.run().await.expect("a second run");
        assert_eq!(
            world.bill().distinct_billed,
            billed,
            "nothing is paid twice"
        );
    }
}

const TYPES: &str = "and the provider takes image/jpeg, image/png, image/gif, image/webp";

/// What a server does, and what is said of its row; or which picture came all the same.
const WRONGS: [(&str, Result<u8, &str>); 11] = [
    ("500", Err("its server answers 500")),
    ("403", Err("its server answers 403")),
    ("204", Err("its server answers 204")),
    ("endless", Err("bytes, the most that can be sent")),
    ("long", Err("bytes, the most that can be sent")),
    ("page.png", Err("it is text/html, ")),
    (
        "packed",
        Err("its server packs it, though it was asked not to"),
    ),
    ("pdf.png", Err("it is application/pdf, ")),
    ("cut", Err("it was cut on its way")),
    ("busy%20once", Ok(3)),
    ("cut%20once", Ok(4)),
];

/// An Internet in which all that goes wrong.
fn wrong() -> Internet {
    let internet = Internet::default();
    let endless = || {
        let part = Bytes::from(vec![7; 1 << 20]);
        let parts = stream::repeat_with(move || Ok::<_, std::io::Error>(part.clone()));
        Body::from_stream(parts).into_response()
    };
    let cut = || {
        let part = Bytes::from(picture(1)[..20].to_vec());
        let parts = [Ok(part), Err(std::io::Error::other("cut"))];
        Body::from_stream(stream::iter(parts)).into_response()
    };
    let image = || [(CONTENT_TYPE, "image/png")];
    internet.put(&at("500"), |_| {
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    });
    internet.put(&at("403"), |_| StatusCode::FORBIDDEN.into_response());
    internet.put(&at("204"), |_| StatusCode::NO_CONTENT.into_response());
    internet.put(&at("endless"), move |_| endless());
    let long = || ([("content-length", "999999999999")], Body::empty());
    internet.put(&at("long"), move |_| long().into_response());
    internet.put(&at("page.png"), move |_| {
        (image(), "<!DOCTYPE html><p>Log in").into_response()
    });
    let packed = || ([(CONTENT_ENCODING, "gzip")], picture(1));
    internet.put(&at("packed"), move |_| packed().into_response());
    internet.put(&at("pdf.png"), move |_| {
        (image(), "%PDF-1.7").into_response()
    });
    internet.put(&at("cut"), move |_| cut());
    internet.put(&at("cut%20once"), move |times| match times {
        0 => cut(),
        _ => picture(4).into_response(),
    });
    internet.put(&at("busy%20once"), |times| match times {
        0 => (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")]).into_response(),
        _ => ([(CONTENT_TYPE, "text/plain")], picture(3)).into_response(),
    });
    internet
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_does_wrong_is_said_of_its_row() {
    for vendor in VENDORS {
        let internet = wrong();
        let urls: Vec<_> = WRONGS.iter().map(|(name, _)| at(name)).collect();
        let urls: Vec<_> = urls.iter().map(String::as_str).collect();
        let world = world(vendor, &internet, &urls);
        let plan = engine::plan(world.setup("plan"), world.provider()).await;
        let failed = plan.expect("a plan").counts.failed;
        assert_eq!(failed, 9, "told before anything is sent");
        assert_eq!(internet.times(&at("500")), 3, "what passes is tried again");
        assert_eq!(internet.times(&at("403")), 1);
        internet.asked.lock().expect("no panic").clear();
        world.run().await.expect("a run");
        for (n, ((name, expect), came)) in WRONGS.iter().zip(came(&world)).enumerate() {
            match expect {
                Ok(own) => {
                    let expect = answer_to(&n.to_string(), &[&picture(*own)]);
                    assert!(came.ends_with(&expect), "{name}: {came}");
                }
                Err(why) => {
                    assert!(came.contains(why), "{name}: {came}");
                    assert_eq!(
                        came.contains("it is "),
                        came.ends_with(TYPES),
                        "{name}: {came}"
                    );
                }
            }
        }
        assert_eq!(world.bill().distinct_billed, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_not_waited_for() {
    let internet = Internet::default();
    internet.put("https://cdn.example/a/slow", |_| {
        let never = stream::once(futures::future::pending::<std::io::Result<Bytes>>());
        Body::from_stream(never).into_response()
    });
    internet.put_bytes("https://cdn.example/a/1", &picture(1));
    let mut world = World::paused("anthropic", (1, 9), SandboxConfig::default());
    set(
        &mut world,
        &internet,
        &["https://cdn.example/a/slow", "https://cdn.example/a/1"],
    );
    world.run().await.expect("a run");
    let came = came(&world);
    assert!(
        came[0].ends_with("it does not come within 120 seconds"),
        "{}",
        came[0]
    );
    assert!(
        came[1].ends_with(&answer_to("1", &[&picture(1)])),
        "{}",
        came[1]
    );
}

#[tokio::test(start_paused = true)]
async fn servers_that_fail_again_and_again_stop_the_run_before_anything_is_sent() {
    let internet = Internet::default();
    let urls: Vec<_> = (0..60)
        .map(|n| format!("https://cdn.example/a/{n}"))
        .collect();
    for url in &urls {
        internet.put(url, |times| match times {
            0..3 => StatusCode::BAD_GATEWAY.into_response(),
            _ => picture(1).into_response(),
        });
    }
    let urls: Vec<_> = urls.iter().map(String::as_str).collect();
    let mut world = World::paused("openai", (1, 9), SandboxConfig::default());
    set(&mut world, &internet, &urls);
    let error = world.run().await.expect_err("nothing can be read");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert_eq!(
        error.message(),
        "pictures or documents cannot be read from their URLs"
    );
    assert_eq!(world.bill().total.batches_created, 0);
    // They are there again.
    for url in &urls {
        internet.put_bytes(url, &picture(1));
    }
    world.run().await.expect("a run");
    let came = came(&world);
    assert!(
        came.iter()
            .enumerate()
            .all(|(n, came)| came.ends_with(&answer_to(&n.to_string(), &[&picture(1)])))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn other_bytes_than_were_planned_are_not_sent() {
    for vendor in VENDORS {
        let internet = Internet::default();
        let url = "https://cdn.example/a/1";
        // Its server says that nothing has changed, and one byte has.
        internet.put(url, |times| {
            let bytes = picture(if times == 0 { 1 } else { 2 });
            ([("etag", "\"same\"")], bytes).into_response()
        });
        let world = world(vendor, &internet, &[url]);
        let error = world.run().await.expect_err("other bytes");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(
            error
                .to_string()
                .contains("an attachment is not what it was when its request was planned"),
            "{error}"
        );
        assert_eq!(
            world.bill().total.batches_created,
            0,
            "nothing was promised"
        );
        internet.put(url, |_| StatusCode::NOT_FOUND.into_response());
        let error = world.run().await.expect_err("it is gone");
        assert!(
            error.to_string().contains("its server answers 404"),
            "{error}"
        );
        // As the hint says: restored, it is sent.
        internet.put_bytes(url, &picture(1));
        world.run().await.expect("a run");
        assert!(came(&world)[0].ends_with(&answer_to("0", &[&picture(1)])));
        // Once all is published the next run looks at it anew.
        internet.put_bytes(url, &picture(2));
        world.run().await.expect("another run");
        assert!(came(&world)[0].ends_with(&answer_to("0", &[&picture(2)])));
        assert_eq!(world.bill().distinct_billed, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_whose_picture_is_another_is_canceled_and_made_anew() {
    let internet = Internet::default();
    let url = "https://cdn.example/a/1";
    internet.put(url, |times| {
        picture(if times == 0 { 1 } else { 2 }).into_response()
    });
    let world = world("anthropic", &internet, &[url]);
    world.run().await.expect_err("other bytes");
    engine::cancel(world.setup("cancel"))
        .await
        .expect("canceled");
    world.run().await.expect("a run");
    assert_eq!(
        internet.times(url),
        4,
        "once for each plan, and once for each send"
    );
    assert!(
        came(&world)[0].ends_with(&answer_to("0", &[&picture(2)])),
        "{:?}",
        came(&world)
    );
    assert_eq!(world.bill().distinct_billed, 1);
}

/// Names, as somebody hostile has them.
#[derive(Debug)]
struct Hostile(Mutex<HashMap<String, usize>>);

impl Names for Hostile {
    fn addresses(&self, name: String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        let mut asked = self.0.lock().expect("no panic");
        let times = asked.entry(name.clone()).or_default();
        *times += 1;
        let addresses: &[&str] = match (&*name, *times) {
            // One has another address each time that it is asked for.
            ("loopback.example", _) | ("rebound.example", 2..) => &["127.0.0.1"],
            ("mapped.example", _) => &["::ffff:127.0.0.1"],
            ("six.example", _) => &["::1"],
            ("metadata.example", _) => &["169.254.169.254", "fd00:ec2::254"],
            ("company.example", _) => &["10.0.0.1", "192.168.0.1", "fc00::1"],
            _ => return async { Err(std::io::Error::other("no such name")) }.boxed(),
        };
        let addresses = addresses
            .iter()
            .map(|address| address.parse().expect("an address"));
        let addresses = addresses.collect();
        async move { Ok(addresses) }.boxed()
    }
}

/// A server on this machine that gives to each path what `answer` says, and counts its callers.
fn serve(answer: fn(&str) -> Vec<u8>) -> (u16, Arc<Mutex<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let port = listener.local_addr().expect("an address").port();
    let callers = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&callers);
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.expect("a caller");
            *counted.lock().expect("no panic") += 1;
            let mut head = [0; 4096];
            let read = socket.read(&mut head).unwrap_or_default();
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default();
            let _ = socket.write_all(&answer(path));
        }
    });
    (port, callers)
}

/// An answer that says that so many bytes follow.
fn said(length: usize, bytes: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    [head.as_bytes(), bytes].concat()
}

fn real(prefix: &str, url: &str) -> World {
    let mut world = pictures("anthropic", "", 1);
    set(&mut world, &Internet::default(), &[url]);
    let names = Arc::new(Hostile(Mutex::default()));
    world.components.public_http = Arc::new(SystemHttp::public(IoRuntime::default(), names));
    world.job["prompt"]["attachments_from"] = json!([prefix]);
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_leads_to_no_private_address() {
    let (port, callers) = serve(|_| said(picture(1).len(), &picture(1)));
    // What is checked is what is connected to: a later look-up is looked at like the first.
    for name in [
        "loopback", "mapped", "six", "metadata", "company", "rebound",
    ] {
        let prefix = format!("http://{name}.example:{port}/");
        let world = real(&prefix, &format!("{prefix}a.png"));
        let error = engine::check(world.setup("check"), world.provider(), 3).await;
        let error = error.expect_err(name);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{name}: {error:?}");
        assert_eq!(
            error.message(),
            "a URL leads to a private address",
            "{name}"
        );
    }
    assert_eq!(
        *callers.lock().expect("no panic"),
        0,
        "nobody came to this machine"
    );
    let world = real("http://nowhere.example/", "http://nowhere.example/a.png");
    let error = world.run().await.expect_err("no such name");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_the_job_writes_as_a_number_is_its_authors_word() {
    let (port, _) = serve(|path| match path {
        "/a/1.png" => said(picture(1).len(), &picture(1)),
        // Its length is not what it says.
        "/a/more" => said(picture(1).len() + 9, &picture(1)),
        "/a/less" => said(picture(1).len() - 9, &picture(1)),
        _ => b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec(),
    });
    let prefix = format!("http://127.0.0.1:{port}/a");
    for (url, expect) in [
        (format!("{prefix}/1.png"), Ok(1)),
        (format!("http://2130706433:{port}/a/1.png"), Ok(1)),
        ("1.png".to_owned(), Ok(1)),
        (format!("{prefix}/more"), Err("it was cut on its way")),
        (
            format!("{prefix}/less"),
            Err("it is cut: its end is missing"),
        ),
        (format!("{prefix}/none"), Err("its server answers 404")),
    ] {
        let world = real(&prefix, &url);
        world.run().await.expect("a run");
        let came = came(&world).remove(0);
        match expect {
            Ok(n) => assert!(
                came.ends_with(&answer_to("0", &[&picture(n)])),
                "{url}: {came}"
            ),
            Err(why) => assert!(came.ends_with(why), "{url}: {came}"),
        }
    }
    for prefix in [
        "http://169.254.169.254/",
        "http://[fd00:ec2::254]/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://2852039166/x",
    ] {
        let world = real(prefix, "x.png");
        let error = engine::check(world.setup("check"), world.provider(), 3).await;
        let error = error.expect_err(prefix);
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(
            error
                .message()
                .starts_with("nothing is read from an address that only neighbours have"),
            "{error:?}"
        );
    }
}
