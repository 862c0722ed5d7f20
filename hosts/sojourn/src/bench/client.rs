//! One HTTP/1.1 connection of the load: as little work as a client can do, since it runs on the cores it measures.

use axum::body::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use tokio::net::TcpStream;

pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

pub struct Answer {
    pub status: StatusCode,
    pub position: u64,
    pub body: Bytes,
}

impl Connection {
    /// # Errors
    /// Why nobody answers there.
    pub async fn open(address: SocketAddr) -> Result<Self, String> {
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!(%error, "a connection of the load broke");
            }
        });
        Ok(Connection { sender, host: address.to_string() })
    }

    /// # Errors
    /// The connection broke.
    pub async fn post(&mut self, path: &str, key: &str, body: impl Into<Bytes>) -> Result<Answer, String> {
        self.send(Method::POST, path, key, body.into()).await
    }

    /// # Errors
    /// The connection broke.
    pub async fn get(&mut self, path: &str, key: &str) -> Result<Answer, String> {
        self.send(Method::GET, path, key, Bytes::new()).await
    }

    async fn send(&mut self, method: Method, path: &str, key: &str, body: Bytes) -> Result<Answer, String> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.host)
            .header(AUTHORIZATION, format!("Bearer {key}"))
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        self.sender.ready().await.map_err(|error| error.to_string())?;
        let response = self.sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let position = response.headers().get("sojourn-position").and_then(|value| value.to_str().ok());
        let position = position.and_then(|value| value.parse().ok()).unwrap_or(0);
        let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok(Answer { status, position, body })
    }
}
