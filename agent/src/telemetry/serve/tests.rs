use http::header::{ACCEPT, ALLOW, CONTENT_TYPE};
use http::{Method, Request, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::{MetricsServer, answer, to_plain};
use crate::telemetry::Telemetry;
use crate::telemetry::tests::exchange;

fn request(method: Method, path: &str, accept: &str) -> Request<()> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(ACCEPT, accept)
        .body(())
        .expect("a request")
}

#[test]
fn only_get_metrics_is_served() {
    let telemetry = Telemetry::new(None);
    let status = |method, path| answer(&telemetry, None, &request(method, path, "*/*"));
    assert_eq!(status(Method::GET, "/metrics").status(), StatusCode::OK);
    assert_eq!(status(Method::GET, "/").status(), StatusCode::NOT_FOUND);
    let refused = status(Method::POST, "/metrics");
    assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(refused.headers()[ALLOW], "GET");
}

#[test]
fn the_format_is_the_scrapers_choice() {
    let telemetry = Telemetry::new(None);
    let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
    for (accept, content_type) in [
        (
            prometheus,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
    ] {
        let answer = answer(&telemetry, None, &request(Method::GET, "/metrics", accept));
        assert_eq!(answer.headers()[CONTENT_TYPE], content_type);
    }
}

#[test]
fn in_the_older_format_a_counters_family_has_its_samples_name() {
    assert_eq!(
        to_plain(
            "# HELP a_b Some help.\n# TYPE a_b counter\na_b_total 1\n# HELP c More.\n# TYPE c gauge\nc 2\n# EOF\n"
        ),
        "# HELP a_b_total Some help.\n# TYPE a_b_total counter\na_b_total 1\n# HELP c More.\n# TYPE c gauge\nc 2\n"
    );
}

#[tokio::test]
async fn a_scrape_over_a_socket_until_shutdown() {
    let telemetry = Telemetry::new(None);
    telemetry.settle(&exchange("gpt-4o"));
    let server = MetricsServer::bind("127.0.0.1:0".parse().expect("an address"))
        .await
        .expect("a free port");
    let address = server.local_address();
    let taken = MetricsServer::bind(address).await.expect_err("taken").to_string();
    assert!(
        taken.starts_with(&format!("--metrics {address}: Address already in use")),
        "{taken}"
    );

    let (shutdown, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.run(telemetry, async {
        let _ = stopped.await;
    }));
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request = b"GET /metrics HTTP/1.1\r\nhost: weir\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\nweir_exchanges_total{"), "{answer}");

    // An idle connection does not hold up the end.
    let mut idle = TcpStream::connect(address).await.expect("it listens");
    shutdown.send(()).expect("it serves");
    serving.await.expect("no panic");
    let _ = idle.read(&mut [0]).await;
    TcpStream::connect(address).await.expect_err("closed");
}
