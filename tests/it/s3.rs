//! Source and output on `s3://`, against a server in this process. The ledger stays on local disk,
//! for this server does not keep create-if-absent under a race.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::extract::Query;
use axum::http::HeaderMap;
use axum::routing::get;
use axum::{Json, Router};
use columnist::base::Stores;
use columnist::base::http::RouterService;
use columnist::engine;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tokio::net::TcpListener;

use crate::world::{VENDORS, World, check_file, read_table, write_table};

/// Serves `root`, whose folders are buckets.
pub(crate) async fn serve(root: &Path) -> SocketAddr {
    let mut service = S3ServiceBuilder::new(FileSystem::new(root).expect("a folder"));
    service.set_auth(SimpleAuth::from_single("access", "secret"));
    let service = service.build();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                let server = Builder::new(TokioExecutor::new());
                // A client that goes away is the client's own business.
                let _ = server.serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    address
}

/// A world with a bucket `lake`, which lies in its folder as `s3/lake`.
async fn with_bucket(vendor: &'static str) -> World {
    let (mut world, endpoint) = without_keys(vendor).await;
    world.components.stores = Arc::new(stores_at(&endpoint));
    world
}

/// Stores that know the bucket's endpoint and its keys.
pub(crate) fn stores_at(endpoint: &str) -> Stores {
    stores(&[
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ACCESS_KEY_ID", "access"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_REGION", "us-east-1"),
    ])
}

/// The same, of which nothing is known but the bucket's endpoint.
async fn without_keys(vendor: &'static str) -> (World, String) {
    let world = World::new(vendor, "");
    std::fs::create_dir_all(world.path("s3/lake")).expect("a bucket");
    let address = serve(&world.path("s3")).await;
    (world, format!("http://{address}"))
}

fn stores(environment: &[(&str, &str)]) -> Stores {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let stores = Stores::new(Vec::new()).expect("stores");
    stores.with_environment(environment.iter().map(own).collect())
}

fn bodies(range: std::ops::Range<usize>) -> Vec<Option<String>> {
    range.map(|n| Some(format!("ticket {n}"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_becomes_an_object() {
    for vendor in VENDORS {
        let mut world = with_bucket(vendor).await;
        write_table(&world.path("s3/lake/in.parquet"), &bodies(0..60), 16);
        world.job["source"]["input"]["table"] = "s3://lake/in.parquet".into();
        world.job["output"]["path"] = "s3://lake/made/out.parquet".into();
        let report = world.run().await.expect("a run");
        assert!(report.published, "{report:?}");
        check_file(
            &world,
            &world.path("s3/lake/made/out.parquet"),
            &bodies(0..60),
        );
        let again = world.run().await.expect("a second run");
        assert!(again.unchanged, "{again:?}");
        assert_eq!(world.bill().total.requests_accepted, 60);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_complete_when_its_marker_is_there() {
    let mut world = with_bucket("openai").await;
    for (day, range) in [("1", 0..20), ("2", 20..50)] {
        let folder = world.path("s3/lake/tickets").join(format!("dt={day}"));
        std::fs::create_dir_all(&folder).expect("made");
        write_table(&folder.join("part.parquet"), &bodies(range), 16);
    }
    world.job["source"]["input"]["table"] = "s3://lake/tickets/".into();
    world.job["source"]["key"] = serde_json::json!(["body"]);
    world.job["output"]["path"] = "s3://lake/triaged/".into();
    let report = world.run().await.expect("a run");
    assert!(report.published, "{report:?}");
    check_file(
        &world,
        &world.path("s3/lake/triaged/dt=1/part.parquet"),
        &bodies(0..20),
    );
    check_file(
        &world,
        &world.path("s3/lake/triaged/dt=2/part.parquet"),
        &bodies(20..50),
    );
    assert!(world.path("s3/lake/triaged/_SUCCESS").exists());
    assert!(world.run().await.expect("a second run").unchanged);
    // From another ledger, the output is a stranger's, and replaced only where that is asked for.
    let folder = world.path("s3/lake/tickets/dt=3");
    std::fs::create_dir_all(&folder).expect("made");
    write_table(&folder.join("part.parquet"), &bodies(45..60), 16);
    world.job["source"]["key"] = serde_json::json!(["dt", "body"]);
    world.job["ledger"]["path"] = world.path("_columnist/second").display().to_string().into();
    let error = world
        .run()
        .await
        .expect_err("the output is another ledger's");
    assert_eq!(error.kind().exit_code(), 2, "{error:?}");
    world.job["output"]["overwrite"] = true.into();
    let report = world.run().await.expect("a third run");
    assert!(report.published, "{report:?}");
    check_file(
        &world,
        &world.path("s3/lake/triaged/dt=3/part.parquet"),
        &bodies(45..60),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_of_somebody_else_on_s3_is_kept() {
    let mut world = with_bucket("openai").await;
    write_table(&world.path("s3/lake/in.parquet"), &bodies(0..5), 16);
    write_table(&world.path("s3/lake/out.parquet"), &bodies(0..1), 16);
    world.job["source"]["input"]["table"] = "s3://lake/in.parquet".into();
    world.job["output"]["path"] = "s3://lake/out.parquet".into();
    let error = world.run().await.expect_err("somebody else's output");
    assert_eq!(error.kind().exit_code(), 2, "{error:?}");
    assert!(
        error
            .hint_text()
            .is_some_and(|hint| hint.contains("overwrite")),
        "{error:?}"
    );
    assert_eq!(
        read_table(&world.path("s3/lake/out.parquet"))["body"],
        bodies(0..1)
    );
    assert_eq!(world.bill().total.requests_accepted, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_are_damaged_in_a_column_that_no_prompt_has_cost_nothing() {
    let mut world = with_bucket("openai").await;
    let path = world.path("s3/lake/in.parquet");
    write_table(&path, &bodies(0..60), 16);
    // The first page of `id` stands behind the magic.
    let mut bytes = std::fs::read(&path).expect("a table");
    bytes[4] = 0xff;
    std::fs::write(&path, bytes).expect("written");
    world.job["source"]["input"]["table"] = "s3://lake/in.parquet".into();
    world.job["output"]["path"] = "s3://lake/out.parquet".into();
    let error = world.run().await.expect_err("a damaged page");
    assert_eq!(error.kind().exit_code(), 2, "{error:?}");
    assert!(error.to_string().contains("column=`id`"), "{error:?}");
    assert_eq!(world.bill().total.requests_accepted, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_not_there_is_named() {
    let mut world = with_bucket("openai").await;
    world.job["source"]["input"]["table"] = "s3://nowhere/in.parquet".into();
    let error = world.run().await.expect_err("no bucket");
    assert!(
        error.to_string().contains("s3://nowhere/in.parquet"),
        "{error:?}"
    );
    assert!(error.hint_text().is_some(), "{error:?}");
    assert_eq!(world.bill().total.requests_accepted, 0);
}

/// Runs a job over a table in the bucket, with what `profile` says, which is called `nightly`.
async fn run_with_profile(
    (world, endpoint): &mut (World, String),
    profile: &str,
    portal: Option<Router>,
) -> columnist::base::Result<bool> {
    write_table(&world.path("s3/lake/in.parquet"), &bodies(0..3), 16);
    let config =
        format!("[profile nightly]\nregion = us-east-1\nendpoint_url = {endpoint}\n{profile}");
    std::fs::create_dir_all(world.path(".aws")).expect("made");
    std::fs::write(world.path(".aws/config"), config).expect("written");
    let home = world.path("").display().to_string();
    let environment = [
        ("HOME", home.as_str()),
        ("AWS_PROFILE", "nightly"),
        ("AWS_ALLOW_HTTP", "true"),
    ];
    let mut own = stores(&environment);
    if let Some(portal) = portal {
        own = own.with_http(Arc::new(RouterService::new(portal)));
    }
    world.components.stores = Arc::new(own);
    world.job["source"]["input"]["table"] = "s3://lake/in.parquet".into();
    world.job["output"]["path"] = "s3://lake/out.parquet".into();
    let report = world.run().await?;
    Ok(report.published)
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_from_a_profile_of_the_aws_tools() {
    let printed = r#"{"Version":1,"AccessKeyId":"access","SecretAccessKey":"secret"}"#;
    for profile in [
        "aws_access_key_id = access\naws_secret_access_key = secret\n".to_owned(),
        format!("credential_process = echo '{printed}'\n"),
    ] {
        let mut world = without_keys("openai").await;
        let published = run_with_profile(&mut world, &profile, None).await;
        assert!(published.expect("a run"), "{profile}");
        check_file(
            &world.0,
            &world.0.path("s3/lake/out.parquet"),
            &bodies(0..3),
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_that_gives_no_keys_says_why_and_shows_no_secret() {
    for (profile, words) in [
        (
            "credential_process = echo topsecret; exit 3\n",
            ["credential_process", "exit status: 3"],
        ),
        (
            "credential_process = echo '{\"Version\":2,\"AccessKeyId\":\"topsecret\",\"SecretAccessKey\":\"x\"}'\n",
            ["credential_process", "version 2"],
        ),
        (
            "sso_session = corp\nsso_account_id = 1\nsso_role_name = R\n[sso-session corp]\nsso_region = us-east-1\n",
            ["has ended", "aws sso login --profile nightly"],
        ),
    ] {
        let mut world = without_keys("openai").await;
        let error = run_with_profile(&mut world, profile, None)
            .await
            .expect_err("no keys");
        assert_eq!(error.kind().exit_code(), 7, "{error:?}");
        let mut said = format!("{error} {:?}", error.hint_text());
        let mut cause = std::error::Error::source(&error);
        while let Some(why) = cause {
            said.push_str(&why.to_string());
            cause = why.source();
        }
        for word in words {
            assert!(said.contains(word), "{word}: {said}");
        }
        assert!(!said.contains("topsecret"), "{said}");
        assert_eq!(world.0.bill().total.requests_accepted, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_the_aws_tools_gives_keys() {
    let mut world = without_keys("openai").await;
    // The file is named after the session, as the tools do it: the SHA-1 of `corp`.
    let name = "ee0bfd2552fbd840c02cc48b6e823320543c450f";
    let cache = world.0.path(".aws/sso/cache");
    std::fs::create_dir_all(&cache).expect("made");
    let token = r#"{"accessToken":"token-1","expiresAt":"2999-01-01T00:00:00Z"}"#;
    std::fs::write(cache.join(format!("{name}.json")), token).expect("written");
    let asked = |headers: HeaderMap, Query(query): Query<BTreeMap<String, String>>| async move {
        assert_eq!(headers["x-amz-sso_bearer_token"], "token-1");
        assert_eq!(
            (&*query["account_id"], &*query["role_name"]),
            ("123", "Reader")
        );
        let keys = serde_json::json!({ "accessKeyId": "access", "secretAccessKey": "secret", "sessionToken": "t", "expiration": 32_503_680_000_000_u64 });
        Json(serde_json::json!({ "roleCredentials": keys }))
    };
    let portal = Router::new().route("/federation/credentials", get(asked));
    let profile = "sso_session = corp\nsso_account_id = 123\nsso_role_name = Reader\n\
                   [sso-session corp]\nsso_region = us-east-1\nsso_start_url = https://corp.example\n";
    let published = run_with_profile(&mut world, profile, Some(portal)).await;
    assert!(published.expect("a run"));
    check_file(
        &world.0,
        &world.0.path("s3/lake/out.parquet"),
        &bodies(0..3),
    );
}

/// Runs with a session of the AWS tools whose token is `left`, where IAM Identity Center prolongs `refresh-1`
/// alone; what it said, and what is left of the token.
async fn run_with_session(left: serde_json::Value) -> (columnist::base::Result<bool>, String) {
    let mut world = without_keys("openai").await;
    let name = "ee0bfd2552fbd840c02cc48b6e823320543c450f";
    let cache = world.0.path(".aws/sso/cache");
    std::fs::create_dir_all(&cache).expect("made");
    let file = cache.join(format!("{name}.json"));
    std::fs::write(&file, left.to_string()).expect("written");
    let asked = |headers: HeaderMap| async move {
        assert_eq!(headers["x-amz-sso_bearer_token"], "token-2");
        let keys = serde_json::json!({ "accessKeyId": "access", "secretAccessKey": "secret", "sessionToken": "t", "expiration": 32_503_680_000_000_u64 });
        Json(serde_json::json!({ "roleCredentials": keys }))
    };
    let prolonged = |Json(asked): Json<serde_json::Value>| async move {
        assert_eq!(asked["grantType"], "refresh_token");
        assert_eq!(
            (&asked["clientId"], &asked["clientSecret"]),
            (&"client".into(), &"s".into())
        );
        if asked["refreshToken"] != "refresh-1" {
            let error = serde_json::json!({ "error": "invalid_grant" });
            return (axum::http::StatusCode::BAD_REQUEST, Json(error));
        }
        let new = serde_json::json!({ "accessToken": "token-2", "expiresIn": 3600, "refreshToken": "refresh-2" });
        (axum::http::StatusCode::OK, Json(new))
    };
    let portal = Router::new()
        .route("/federation/credentials", get(asked))
        .route("/token", axum::routing::post(prolonged));
    let profile = "sso_session = corp\nsso_account_id = 123\nsso_role_name = Reader\n\
                   [sso-session corp]\nsso_region = us-east-1\nsso_start_url = https://corp.example\n";
    let published = run_with_profile(&mut world, profile, Some(portal)).await;
    (published, std::fs::read_to_string(file).expect("is there"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_has_ended_is_prolonged_or_says_how_to_begin_it() {
    let token = |refresh: &str| {
        serde_json::json!({
            "accessToken": "token-1", "expiresAt": "2020-01-01T00:00:00Z", "region": "us-east-1",
            "clientId": "client", "clientSecret": "s", "refreshToken": refresh,
        })
    };
    let (published, left) = run_with_session(token("refresh-1")).await;
    assert!(published.expect("a run"));
    let left: serde_json::Value = serde_json::from_str(&left).expect("JSON");
    assert_eq!(left["accessToken"], "token-2");
    assert_eq!(
        (&left["refreshToken"], &left["region"]),
        (&"refresh-2".into(), &"us-east-1".into())
    );
    assert!(
        left["expiresAt"].as_str().expect("a time") > "2024",
        "{left}"
    );

    let mut old = token("refresh-1");
    old.as_object_mut()
        .expect("an object")
        .remove("refreshToken");
    for left in [token("refresh-0"), old] {
        let (published, kept) = run_with_session(left.clone()).await;
        let error = published.expect_err("no keys");
        assert_eq!(error.kind().exit_code(), 7, "{error:?}");
        let mut said = format!("{:?}", error.hint_text());
        let mut cause = std::error::Error::source(&error);
        while let Some(why) = cause {
            said.push_str(&why.to_string());
            cause = why.source();
        }
        assert!(said.contains("aws sso login --profile nightly"), "{said}");
        assert!(said.contains("2020-01-01T00:00:00Z"), "{said}");
        assert_eq!(kept, left.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_on_s3_are_looked_at_as_local_ones_are() {
    let mut world = with_bucket("openai").await;
    let place = |name: &str| {
        let path = world.path("s3/lake").join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        path
    };
    write_table(&place("t/data/a.parq"), &bodies(0..4), 16);
    write_table(&place("t/data/b"), &bodies(4..6), 16);
    std::fs::write(place("t/data/readme.md"), "hello").expect("written");
    world.job["source"]["input"]["table"] = "s3://lake/t/data/".into();
    world.job["source"]["key"] = serde_json::json!(["body"]);
    world.job["output"]["path"] = "s3://lake/out/".into();
    let checked = engine::check(world.setup("check"), world.provider(), 1)
        .await
        .expect("in order");
    assert_eq!(checked.rows, Some(6));
    assert!(
        checked.notes.iter().any(|note| note.contains("readme.md")),
        "{:?}",
        checked.notes
    );
    let place = |name: &str| {
        let path = world.path("s3/lake").join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        path
    };
    std::fs::write(place("t/metadata/v1.metadata.json"), "{}").expect("written");
    let error = world.run().await.expect_err("an Iceberg table");
    assert!(error.to_string().contains("Iceberg"), "{error}");
    assert!(error.to_string().contains("s3://lake/t/"), "{error}");
    assert_eq!(world.bill().total.requests_accepted, 0);
}
