//! What a check says of a document: one sentence, its place, and whether it refuses a publish (J14).

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Refuses a publish, counts as failed, sets the exit code.
    Error,
    Warning,
}

/// One finding. `code` is stable; `message` says what was expected, what was found and what to do.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    pub severity: Severity,
    pub code: &'static str,
    /// `Journey/abandoned_cart`; empty when the document could not be read that far.
    pub document: String,
    /// The step's id, where the finding is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The place within the document, such as `spec.start.where`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    pub message: String,
    /// The line of the file, from 1; set by those who have its text ([`crate::places`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The file it was read from; set by those who read files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

impl Finding {
    pub fn error(code: &'static str, document: impl Into<String>, message: impl Into<String>) -> Self {
        Finding {
            severity: Severity::Error,
            code,
            document: document.into(),
            step: None,
            path: String::new(),
            message: message.into(),
            line: None,
            file: None,
        }
    }

    pub fn warning(code: &'static str, document: impl Into<String>, message: impl Into<String>) -> Self {
        Finding { severity: Severity::Warning, ..Finding::error(code, document, message) }
    }

    #[must_use]
    pub fn at_step(mut self, step: impl Into<String>) -> Self {
        self.step = Some(step.into());
        self
    }

    #[must_use]
    pub fn at_path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}[{}]", self.code)?;
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, " {file}:{line}")?,
            (Some(file), None) => write!(f, " {file}")?,
            (None, Some(line)) => write!(f, " line {line}")?,
            (None, None) => {}
        }
        for place in [Some(self.document.as_str()), self.step.as_deref(), Some(self.path.as_str())]
            .into_iter()
            .flatten()
            .filter(|place| !place.is_empty())
        {
            write!(f, " {place}")?;
        }
        write!(f, ": {}", self.message)
    }
}
