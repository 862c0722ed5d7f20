//! Binding ids: does an event concern the passage that another event started (J6)?

/// Whether an event with the binding `event` acts on a participant that was started with `start`.
///
/// A binding is `{type}/{id}`: slashes at its ends are trimmed, the last part is the id, the parts before it put
/// together are the type. Equal types act when the ids are equal; different types act always, since neither says
/// anything about the other. Kept from the reference: a participant started with a plain string is not concerned by an
/// event without a binding.
pub fn acts(start: Option<&str>, event: Option<&str>) -> bool {
    let start = Binding::parse(start.unwrap_or_default());
    let event = Binding::parse(event.unwrap_or_default());
    if start.is_empty() {
        return true;
    }
    if event.is_empty() {
        return !start.kind.is_empty();
    }
    start.kind != event.kind || start.id == event.id
}

#[derive(Debug, PartialEq, Eq)]
struct Binding {
    kind: String,
    id: String,
}

impl Binding {
    fn parse(text: &str) -> Self {
        let mut parts: Vec<&str> = text.trim().trim_matches('/').split('/').collect();
        let id = parts.pop().unwrap_or_default().to_owned();
        Binding { kind: parts.concat(), id }
    }

    fn is_empty(&self) -> bool {
        self.kind.is_empty() && self.id.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The documented comparison cases of the reference, all of them.
    #[test]
    fn binding_eleven_cases() {
        for (start, event, expected) in [
            ("incident/000", "incident/000", true),
            ("incident/000", "incident/001", false),
            ("incident/000", "opportunity/001", true),
            ("incident/000", "opportunity/000", true),
            ("incident/000", "random string", true),
            ("random string", "random string", true),
            ("random string 1", "random string 2", false),
            ("random string 2", "", false),
            ("", "", true),
            ("", "incident/000", true),
            ("incident/000", "", true),
        ] {
            assert_eq!(acts(Some(start), Some(event)), expected, "({start}, {event})");
        }
        assert!(acts(None, Some("incident/000")));
        assert!(acts(Some("incident/000"), None));
    }

    #[test]
    fn a_binding_is_type_and_id() {
        let parsed = |text| {
            let Binding { kind, id } = Binding::parse(text);
            (kind, id)
        };
        assert_eq!(parsed("A/B/C"), ("AB".into(), "C".into()));
        assert_eq!(parsed("A"), (String::new(), "A".into()));
        assert_eq!(parsed("///A/B////"), ("A".into(), "B".into()));
        assert_eq!(parsed(""), (String::new(), String::new()));
    }
}
