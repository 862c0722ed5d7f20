//! axum: control API, intake, tracking endpoints; OpenAPI generated and committed.
