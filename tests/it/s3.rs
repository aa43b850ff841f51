//! Source and output on `s3://`, against a server in this process. The ledger stays on local disk,
//! for this server does not keep create-if-absent under a race.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use columnist::base::Stores;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tokio::net::TcpListener;

use crate::world::{VENDORS, World, read_table, write_table};

/// Serves `root`, whose folders are buckets.
async fn serve(root: &Path) -> SocketAddr {
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
    let mut world = World::new(vendor, "");
    std::fs::create_dir_all(world.path("s3/lake")).expect("a bucket");
    let address = serve(&world.path("s3")).await;
    let environment = [
        ("AWS_ENDPOINT_URL", format!("http://{address}")),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        ("AWS_ACCESS_KEY_ID", "access".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value));
    let stores = Stores::new(Vec::new()).expect("stores");
    let stores = stores.with_environment(environment.to_vec());
    world.components.stores = Arc::new(stores);
    world
}

fn bodies(range: std::ops::Range<usize>) -> Vec<Option<String>> {
    range.map(|n| Some(format!("ticket {n}"))).collect()
}

#[track_caller]
fn check_file(world: &World, name: &str, bodies: &[Option<String>]) {
    let table = read_table(&world.path(name));
    assert_eq!(table["body"], bodies);
    for (row, body) in bodies.iter().enumerate() {
        let prompt = format!("Label this: {}", body.as_deref().expect("a body"));
        let label = table["label"][row].as_deref();
        let answer = world.answer(&prompt);
        assert!(
            label.is_some_and(|label| label.ends_with(&answer)),
            "row {row}: {label:?}"
        );
    }
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
        check_file(&world, "s3/lake/made/out.parquet", &bodies(0..60));
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
    check_file(&world, "s3/lake/triaged/dt=1/part.parquet", &bodies(0..20));
    check_file(&world, "s3/lake/triaged/dt=2/part.parquet", &bodies(20..50));
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
    check_file(&world, "s3/lake/triaged/dt=3/part.parquet", &bodies(45..60));
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
