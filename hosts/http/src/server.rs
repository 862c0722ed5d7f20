//! The socket under the router: a bound on connections and on how long a request may take to say what it wants.
//!
//! A client that opens many connections and says its requests byte by byte (Slowloris) holds up nobody but itself: a
//! head that is not there in time ends its connection, and so does a body (`payload`).

use crate::Shared;
use axum::extract::ConnectInfo;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt;

/// Bounds of a listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; more wait in the system's queue. Default 4,096.
    pub connections_max: usize,
    /// How long the head of a request may take, the wait for the next one on an open connection included. Default
    /// 75 s, a little longer than common proxies keep theirs.
    pub head_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { connections_max: 4_096, head_within: Duration::from_secs(75) }
    }
}

/// How long a listener that cannot accept is left alone: it has run out of file descriptors.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Serves the API until `told`; then takes no more, and returns when the requests under way have ended.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>, limits: Limits, told: impl Future<Output = ()>) {
    let router = crate::router(shared);
    let connections = Arc::new(Semaphore::new(limits.connections_max));
    let ending = watch::Sender::new(false);
    let mut told = pin!(told);
    loop {
        let accepted = async {
            let permit = Arc::clone(&connections).acquire_owned().await.expect("INVARIANT: it is never closed");
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            () = &mut told => break,
            accepted = accepted => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
                continue;
            }
        };
        let (router, ending) = (router.clone(), ending.subscribe());
        tokio::spawn(async move {
            converse(stream, peer, router, limits, ending).await;
            drop(permit);
        });
    }
    drop(listener);
    ending.send_replace(true);
    ending.closed().await;
}

async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    router: axum::Router,
    limits: Limits,
    mut ending: watch::Receiver<bool>,
) {
    // An answer leaves at once instead of waiting for the other side's acknowledgement (Nagle).
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection has no TCP_NODELAY");
    }
    let service = router.map_request(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.map(axum::body::Body::new)
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.head_within);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = async { drop(ending.wait_for(|ending| *ending).await) } => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}
