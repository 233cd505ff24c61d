//! Connections that change their protocol.

use futures::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::bench::{Bench, eventually};
use crate::upstream::Upstream;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_web_socket_goes_through_in_both_directions() {
    let upstream = Upstream::start();
    let bench = Bench::new(&upstream);
    let gateway = bench.start();
    let address = gateway.url.replace("http://", "ws://") + "/v1/datasets/socket";
    let mut request = address.as_str().into_client_request().unwrap();
    request.headers_mut().insert("x-api-key", bench.admin_key.parse().unwrap());
    let (mut socket, answer) = connect_async(request).await.unwrap();
    assert_eq!(answer.status(), 101);
    for size in [1, 1000, 100_000] {
        let message = Message::text("x".repeat(size));
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    let open = async |count: u32| {
        let metrics = gateway.get("/metrics").send().await.unwrap().text().await.unwrap();
        metrics.contains(&format!("upgraded_connections {count}\n"))
    };
    assert!(open(1).await);
    socket.close(None).await.unwrap();
    eventually("the connection is closed on both sides", async || open(0).await).await;

    // Without a key there is no upgrade.
    match connect_async(address.as_str()).await {
        Err(Error::Http(answer)) => assert_eq!(answer.status(), 401),
        other => panic!("{other:?}"),
    }
}
