//! Over a real socket.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::World;
use super::anthropic::requests;
use crate::base::{ErrorKind, SystemClock};
use crate::emulator::{Running, Sandbox, SandboxConfig};

async fn serve(config: SandboxConfig) -> Running {
    let sandbox = Sandbox::new(config, Arc::new(SystemClock)).expect("a sandbox");
    sandbox
        .serve(SocketAddr::from(([127, 0, 0, 1], 0)))
        .await
        .expect("a free port")
}

/// What comes back on a connection of its own, to its end.
async fn exchange(running: &Running, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(running.addr())
        .await
        .expect("a connection");
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\nx-api-key: k\r\n\
         anthropic-version: 2023-06-01\r\ncontent-length: {}\r\n\r\n{body}",
        running.addr(),
        body.len()
    );
    stream
        .write_all(request.as_bytes())
        .await
        .expect("a request");
    let mut reply = Vec::new();
    // A cut connection is an end as well.
    let _ = stream.read_to_end(&mut reply).await;
    String::from_utf8(reply).expect("UTF-8")
}

#[tokio::test]
async fn it_answers_on_loopback_until_it_is_told_to_stop() {
    let running = serve(SandboxConfig {
        instant: true,
        ..Default::default()
    })
    .await;
    let urls = running.urls();
    assert_eq!(
        urls[0],
        ("anthropic", format!("http://{}/anthropic", running.addr()))
    );
    assert_eq!(
        urls[1],
        ("openai", format!("http://{}/openai/v1", running.addr()))
    );
    let body = requests(3).to_string();
    let made = exchange(&running, "POST", "/anthropic/v1/messages/batches", &body).await;
    assert!(
        made.starts_with("HTTP/1.1 200 OK\r\n") && made.contains("\r\nrequest-id: req_"),
        "{made}"
    );
    let json: serde_json::Value =
        serde_json::from_str(made.split_once("\r\n\r\n").expect("a body").1).expect("JSON");
    let path = format!(
        "/anthropic/v1/messages/batches/{}",
        json["id"].as_str().expect("an id")
    );
    let batch = exchange(&running, "GET", &path, "").await;
    assert!(
        batch.contains(&format!("http://{}{path}/results", running.addr())),
        "{batch}"
    );
    let lines = exchange(&running, "GET", &format!("{path}/results"), "").await;
    assert_eq!(lines.matches("\"succeeded\"").count(), 3);
    let addr = running.addr();
    running.shutdown().await;
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn a_lost_answer_leaves_no_byte() {
    let faults = "lost_answer=1".parse().expect("a fault");
    let running = serve(SandboxConfig {
        faults,
        instant: true,
        ..Default::default()
    })
    .await;
    let body = requests(3).to_string();
    let reply = exchange(&running, "POST", "/anthropic/v1/messages/batches", &body).await;
    assert_eq!(reply, "");
    let bill = exchange(&running, "GET", "/__sandbox/bill", "").await;
    assert!(bill.contains("\"requests_billed\":3"), "{bill}");
}

#[tokio::test]
async fn only_loopback_is_served() {
    let world = World::new(SandboxConfig::default());
    let served = world
        .sandbox
        .serve(SocketAddr::from(([0, 0, 0, 0], 0)))
        .await;
    assert_eq!(served.expect_err("not loopback").kind(), ErrorKind::Invalid);
}
