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
        return start.kind().next().is_some();
    }
    !start.kind().eq(event.kind()) || start.id == event.id
}

/// Whether both name the same thing, however they are written: `/cart/1` is `cart/1` (J4, J6). What has no binding is
/// the same as nothing.
pub fn is_same(one: Option<&str>, other: Option<&str>) -> bool {
    let one = Binding::parse(one.unwrap_or_default());
    let other = Binding::parse(other.unwrap_or_default());
    !one.is_empty() && one.id == other.id && one.kind().eq(other.kind())
}

/// Borrowed, since every exit, goal and wait compares two for each event.
struct Binding<'a> {
    /// With its slashes still in it.
    path: &'a str,
    id: &'a str,
}

impl<'a> Binding<'a> {
    fn parse(text: &'a str) -> Self {
        let trimmed = text.trim().trim_matches('/');
        let (path, id) = trimmed.rsplit_once('/').unwrap_or(("", trimmed));
        Binding { path, id }
    }

    /// The bytes of the type.
    fn kind(&self) -> impl Iterator<Item = u8> {
        self.path.bytes().filter(|byte| *byte != b'/')
    }

    fn is_empty(&self) -> bool {
        self.id.is_empty()
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
        assert!(!acts(Some("random string 2"), None));
    }

    #[test]
    fn the_same_binding_may_be_written_in_several_ways() {
        let is_same = |one, other| is_same(Some(one), Some(other));
        assert!(is_same("cart/1", "/cart/1/"));
        assert!(is_same("A/B/1", " AB/1 "));
        assert!(is_same("plain", "plain"));
        assert!(!is_same("cart/1", "cart/2"));
        assert!(!is_same("cart/1", "order/1"));
        assert!(!is_same("cart/1", "1"));
        assert!(!is_same("", ""));
        assert!(!is_same("///", "/"));
        assert!(!super::is_same(None, None));
    }

    #[test]
    fn a_binding_is_type_and_id() {
        let parsed = |text| {
            let binding = Binding::parse(text);
            (String::from_utf8(binding.kind().collect()).unwrap(), binding.id.to_owned())
        };
        assert_eq!(parsed("A/B/C"), ("AB".into(), "C".into()));
        assert_eq!(parsed("A"), (String::new(), "A".into()));
        assert_eq!(parsed("///A/B////"), ("A".into(), "B".into()));
        assert_eq!(parsed(""), (String::new(), String::new()));
        assert_eq!(parsed("///"), (String::new(), String::new()));
    }

    #[test]
    fn types_that_read_the_same_without_slashes_are_the_same() {
        assert!(!acts(Some("A/B/1"), Some("AB/2")));
        assert!(acts(Some("A/B/1"), Some("AB/1")));
    }
}
