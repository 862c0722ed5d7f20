//! Speaking to a server from the command line.

use reqwest::blocking::{Client, RequestBuilder, Response};
use serde_json::Value;
use std::time::Duration;

#[derive(clap::Args, Clone)]
pub struct Server {
    /// The server's address.
    #[arg(long, global = true, default_value = "http://127.0.0.1:8080", env = "SOJOURN_SERVER")]
    pub server: String,
    /// An admin key.
    #[arg(long, global = true, default_value = "dev-admin", env = "SOJOURN_KEY", hide_env_values = true)]
    pub key: String,
}

impl Server {
    fn client(timeout: Option<Duration>) -> Result<Client, String> {
        Client::builder().timeout(timeout).build().map_err(|error| error.to_string())
    }

    pub fn request(&self, method: reqwest::Method, path: &str) -> Result<RequestBuilder, String> {
        let client = Self::client(Some(Duration::from_secs(60)))?;
        Ok(client.request(method, format!("{}{path}", self.server.trim_end_matches('/'))).bearer_auth(&self.key))
    }

    /// A request whose answer goes on for ever.
    pub fn stream(&self, path: &str) -> Result<RequestBuilder, String> {
        let client = Self::client(None)?;
        Ok(client.get(format!("{}{path}", self.server.trim_end_matches('/'))).bearer_auth(&self.key))
    }

    /// Sends; an answer that is a problem becomes its sentence.
    ///
    /// # Errors
    /// What went wrong, for the user.
    pub fn send(&self, request: RequestBuilder) -> Result<Response, String> {
        let response = request
            .send()
            .map_err(|error| format!("{} cannot be reached ({error}); is `sojourn serve` running?", self.server))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let text = response.text().unwrap_or_default();
        let problem: Value = serde_json::from_str(&text).unwrap_or_default();
        let mut why = problem["detail"].as_str().map_or_else(|| format!("{status}"), str::to_owned);
        for finding in problem["findings"].as_array().into_iter().flatten() {
            why = format!("{why}\n  {}", finding_line(finding));
        }
        Err(why)
    }
}

/// A finding as the server tells it.
pub fn finding_line(finding: &Value) -> String {
    let text = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
    let places: Vec<String> =
        ["document", "step", "path"].map(text).into_iter().filter(|place| !place.is_empty()).collect();
    format!("{}[{}] {}: {}", text("severity"), text("code"), places.join(" "), text("message"))
}
