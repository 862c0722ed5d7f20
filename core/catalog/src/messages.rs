//! Message documents compiled: which parts each channel has, and their templates.

use crate::compiled::{Address, Message, Part};
use model::message::{Channel, Message as Spec};
use model::{Finding, Name, Text, Value};
use template::{Format, Template};

/// The compiled message; None when a finding is an error.
pub(crate) fn message(name: &Name, spec: &Spec, version: u32, findings: &mut Vec<Finding>) -> Option<Message> {
    let mut compiler = Compiler { document: format!("Message/{name}"), findings: Vec::new() };
    compiler.fields(spec);
    let parts = compiler.parts(spec);
    let address = compiler.address(spec);
    if spec.topic.is_some() && spec.purpose.is_none() {
        let message = "a topic is one of a purpose (S2); say `purpose: commercial` or `transactional` too";
        compiler.error("topic_without_purpose", "topic", message.to_owned());
    }
    let failed = compiler.findings.iter().any(|finding| finding.severity == model::Severity::Error);
    findings.append(&mut compiler.findings);
    let address = address.filter(|_| !failed)?;
    Some(Message {
        name: name.clone(),
        version,
        channel: spec.channel,
        purpose: spec.purpose,
        topic: spec.topic.as_deref().map(Text::from),
        address,
        html_field: if spec.mjml.is_some() { "mjml" } else { "html" },
        parts,
        on_missing: spec.on_missing,
    })
}

struct Compiler {
    document: String,
    findings: Vec<Finding>,
}

/// What templates may read.
const ROOTS: [&str; 3] = ["event", "profile", "trigger"];

/// The names that a path of a template goes through: of `event.items[].price` they are event, items and price.
pub(crate) fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('.').map(|name| name.split('[').next().unwrap_or_default())
}

/// Which fields a channel has, and which of them it needs.
fn fields_of(channel: Channel) -> (&'static [&'static str], &'static [&'static str]) {
    match channel {
        Channel::Email => (&["to", "from", "reply_to", "subject", "html", "mjml", "text"], &["subject"]),
        Channel::Sms => (&["to", "from", "text"], &["text"]),
        Channel::Push => (&["to", "subject", "body"], &["body"]),
        Channel::Webhook => (&["url", "body", "headers"], &["url"]),
    }
}

impl Compiler {
    fn error(&mut self, code: &'static str, path: &str, message: String) {
        self.findings.push(Finding::error(code, &self.document, message).at_path(format!("spec.{path}")));
    }

    fn fields(&mut self, spec: &Spec) {
        let channel = spec.channel.as_str();
        let (allowed, required) = fields_of(spec.channel);
        let given = [
            ("to", spec.to.is_some()),
            ("from", spec.from.is_some()),
            ("reply_to", spec.reply_to.is_some()),
            ("subject", spec.subject.is_some()),
            ("html", spec.html.is_some()),
            ("mjml", spec.mjml.is_some()),
            ("text", spec.text.is_some()),
            ("body", spec.body.is_some()),
            ("url", spec.url.is_some()),
            ("headers", !spec.headers.is_empty()),
        ];
        for (field, is_given) in given {
            if is_given && !allowed.contains(&field) {
                let allowed = allowed.join(", ");
                self.error(
                    "message_channel_field",
                    field,
                    format!("a message by {channel} has no `{field}`; it has {allowed}"),
                );
            }
            if !is_given && required.contains(&field) {
                self.error("message_channel_field", field, format!("a message by {channel} needs `{field}`"));
            }
        }
        if spec.channel == Channel::Email && spec.html.is_none() && spec.mjml.is_none() && spec.text.is_none() {
            let message = "an e-mail needs a body: `html` or `mjml`, and `text` beside it or alone";
            self.error("message_channel_field", "html", message.to_owned());
        }
        if spec.html.is_some() && spec.mjml.is_some() {
            let message =
                "an e-mail is written in `html` or in `mjml`, of which its HTML is made; leave one of them out";
            self.error("message_channel_field", "mjml", message.to_owned());
        }
    }

    fn address(&mut self, spec: &Spec) -> Option<Address> {
        match spec.channel.address_attribute() {
            Some(default) => Some(Address::Attribute(spec.to.as_deref().unwrap_or(default).into())),
            None => {
                let url = spec.url.as_deref()?;
                let starts_well = url.starts_with("https://") || url.starts_with("http://") || url.starts_with("{{");
                if !starts_well {
                    self.error("message_url", "url", format!("`{url}` is no http or https address"));
                }
                self.template("url", url, Format::Text).map(Address::Url)
            }
        }
    }

    fn parts(&mut self, spec: &Spec) -> Vec<(Text, Part)> {
        let mut parts: Vec<(Text, Part)> = Vec::new();
        let texts =
            [("from", &spec.from), ("reply_to", &spec.reply_to), ("subject", &spec.subject), ("text", &spec.text)];
        for (name, text) in texts {
            let part = text.as_ref().and_then(|text| self.text_part(name, text));
            parts.extend(part.map(|part| (name.into(), part)));
        }
        let html = match (&spec.html, &spec.mjml) {
            (Some(html), _) => self.template("html", html, Format::Html),
            (None, Some(source)) => self.mjml(source),
            (None, None) => None,
        };
        parts.extend(html.map(|template| ("html".into(), Part::TrackedHtml(template))));
        match &spec.body {
            Some(body) if body.is_too_deep() => {
                self.error("value_too_deep", "body", crate::mappings::too_deep());
            }
            Some(body) => parts.extend(self.value_part("body", body).map(|part| ("body".into(), part))),
            None => {}
        }
        for name in spec.headers.keys().filter(|name| !is_header_name(name)) {
            let message = format!("`{name}` is no name of a header; expected letters, digits, `-` and `_`");
            self.error("message_header", "headers", message);
        }
        let headers: Vec<(Text, Part)> = spec
            .headers
            .iter()
            .filter_map(|(name, text)| Some((name.as_str().into(), self.text_part(&format!("headers.{name}"), text)?)))
            .collect();
        if !headers.is_empty() {
            parts.push(("headers".into(), Part::Map(headers)));
        }
        parts
    }

    fn text_part(&mut self, path: &str, text: &str) -> Option<Part> {
        if !text.contains("{{") && !text.contains("{%") {
            return Some(Part::Fixed(Value::Text(text.into())));
        }
        self.template(path, text, Format::Text).map(Part::Text)
    }

    fn value_part(&mut self, path: &str, value: &Value) -> Option<Part> {
        Some(match value {
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => Part::Fixed(value.clone()),
            Value::Text(text) => self.text_part(path, text)?,
            Value::List(items) => {
                let parts = items.iter().enumerate().map(|(at, item)| self.value_part(&format!("{path}[{at}]"), item));
                Part::List(parts.collect::<Option<_>>()?)
            }
            Value::Map(map) => {
                let parts = map
                    .iter()
                    .map(|(name, value)| Some((name.clone(), self.value_part(&format!("{path}.{name}"), value)?)));
                Part::Map(parts.collect::<Option<_>>()?)
            }
        })
    }

    fn mjml(&mut self, source: &str) -> Option<Template> {
        match template::mjml::to_html(source) {
            Ok(html) => self.template("mjml", &html, Format::Html),
            Err(error) => {
                self.error("template_syntax", "mjml", error.to_string());
                None
            }
        }
    }

    fn template(&mut self, path: &str, source: &str, format: Format) -> Option<Template> {
        let template = match Template::compile(source, format) {
            Ok(template) => template,
            Err(error) => {
                self.error("template_syntax", path, error.to_string());
                return None;
            }
        };
        for variable in template.variables() {
            self.root(path, &variable.path);
        }
        Some(template)
    }

    /// What lies below the roots is checked in each journey that sends the message.
    fn root(&mut self, path: &str, variable: &str) {
        let root = segments(variable).next().unwrap_or_default();
        if root == "record" || root == "steps" {
            self.error("template_unknown_path", path, crate::scope::comes_later(root));
        } else if !ROOTS.contains(&root) {
            let hint = match model::nearest::nearest(root, ROOTS) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("there are {}", ROOTS.join(", ")),
            };
            self.error("template_unknown_path", path, format!("there is no `{root}` to read from; {hint}"));
        } else if variable.starts_with("trigger[") {
            // Which events a journey keeps must be known before it runs.
            let message = "`trigger` is read by name, as in trigger.purchase_completed.total".to_owned();
            self.error("template_unknown_path", path, message);
        }
    }
}

fn is_header_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

impl Message {
    /// Every template of it, with the field of the document that it comes from.
    pub(crate) fn templates(&self) -> Vec<(String, &Template)> {
        fn of_part<'a>(path: String, part: &'a Part, found: &mut Vec<(String, &'a Template)>) {
            match part {
                Part::Fixed(_) => {}
                Part::Text(template) | Part::TrackedHtml(template) => found.push((path, template)),
                Part::List(items) => {
                    items.iter().enumerate().for_each(|(at, item)| of_part(format!("{path}[{at}]"), item, found));
                }
                Part::Map(pairs) => {
                    pairs.iter().for_each(|(name, part)| of_part(format!("{path}.{name}"), part, found));
                }
            }
        }
        let mut found = Vec::new();
        if let Address::Url(template) = &self.address {
            found.push(("url".to_owned(), template));
        }
        for (name, part) in &self.parts {
            let field = if name == "html" { self.html_field } else { name };
            of_part(field.to_owned(), part, &mut found);
        }
        found
    }
}
