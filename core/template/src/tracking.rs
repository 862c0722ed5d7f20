//! Links and pixels that say who opened and clicked, signed so that nobody can forge one (S9).
//!
//! A token is base64url without padding of
//!
//! ```text
//!  0         1        2              18             34                n-16        n
//!  ├─────────┼────────┼──────────────┼──────────────┼─────────────────┼───────────┤
//!  │ version │ kind   │ profile (16) │ effect (16)  │ url (UTF-8)     │ mac (16)  │
//!  │ 1       │ 1 open │              │              │ of a click,     │           │
//!  │         │ 2 click│              │              │ 1 to 2,048 bytes│           │
//!  └─────────┴────────┴──────────────┴──────────────┴─────────────────┴───────────┘
//!  mac = BLAKE3 keyed with the signer's key over everything before it, cut to its first 16 bytes
//! ```
//!
//! There is one text for each token: another spelling of the same bytes (padding, unused bits set) is refused as well.
//! The url is inside the signature, so the redirect goes where the mail said and nowhere else.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lol_html::html_content::{ContentType, Element};
use lol_html::{ElementContentHandlers, RewriteStrSettings, Selector, end, rewrite_str};
use model::{EffectId, ProfileId};
use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::LazyLock;

/// A link with this attribute set to `off` is left alone; the attribute is removed.
const SWITCH: &str = "data-sojourn-track";

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 34;
const MAC_BYTES: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub profile: ProfileId,
    /// The send.
    pub effect: EffectId,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Open,
    /// A click on the link to `url`, which is http or https.
    Click {
        url: String,
    },
}

/// Why a token is refused, or a link cannot have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("this is not a tracking token")]
    Malformed,
    #[error("the token is not signed by this installation, or was changed")]
    Forged,
    #[error("only http and https links of at most {} bytes can be tracked", Signer::URL_BYTES_MAX)]
    Url,
}

/// Makes and checks tokens.
#[derive(Clone)]
pub struct Signer {
    key: [u8; 32],
    base_url: String,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}

impl Signer {
    /// Longest address of a tracked link; longer ones stay as they are.
    pub const URL_BYTES_MAX: usize = 2_048;

    /// `base_url` is where this installation is reached from outside, such as `https://go.example.org`.
    pub fn new(key: [u8; 32], base_url: &str) -> Self {
        Signer { key, base_url: base_url.trim_end_matches('/').to_owned() }
    }

    /// # Errors
    /// `Error::Url` for a click on something that is no http or https address, or too long.
    pub fn sign(&self, token: &Token) -> Result<String, Error> {
        let (kind, url) = match &token.kind {
            Kind::Open => (1, ""),
            Kind::Click { url } if is_trackable(url) => (2, url.as_str()),
            Kind::Click { .. } => return Err(Error::Url),
        };
        let mut bytes = Vec::with_capacity(HEAD_BYTES + url.len() + MAC_BYTES);
        bytes.extend([VERSION, kind]);
        bytes.extend(token.profile.0);
        bytes.extend(token.effect.0);
        bytes.extend(url.as_bytes());
        let mac = self.mac(&bytes);
        bytes.extend(mac);
        Ok(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// # Errors
    /// `Malformed` for what is no token at all, `Forged` for one of somebody else. The comparison takes the same time
    /// wherever the first difference is.
    pub fn verify(&self, text: &str) -> Result<Token, Error> {
        const TEXT_BYTES_MAX: usize = (HEAD_BYTES + Signer::URL_BYTES_MAX + MAC_BYTES).div_ceil(3) * 4;
        if text.len() > TEXT_BYTES_MAX {
            return Err(Error::Malformed);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Error::Malformed)?;
        let Some(signed_bytes) = bytes.len().checked_sub(MAC_BYTES).filter(|signed| *signed >= HEAD_BYTES) else {
            return Err(Error::Malformed);
        };
        let (signed, mac) = bytes.split_at(signed_bytes);
        if !constant_time_equal(&self.mac(signed), mac) {
            return Err(Error::Forged);
        }
        let (head, url) = signed.split_at(HEAD_BYTES);
        let url = std::str::from_utf8(url).map_err(|_| Error::Malformed)?;
        let kind = match (head[0], head[1]) {
            (VERSION, 1) if url.is_empty() => Kind::Open,
            (VERSION, 2) if is_trackable(url) => Kind::Click { url: url.to_owned() },
            _ => return Err(Error::Malformed),
        };
        Ok(Token { profile: ProfileId(id(&head[2..18])), effect: EffectId(id(&head[18..34])), kind })
    }

    /// # Errors
    /// `Error::Url`, as [`Signer::sign`].
    pub fn click_url(&self, profile: ProfileId, effect: EffectId, url: &str) -> Result<String, Error> {
        let token = self.sign(&Token { profile, effect, kind: Kind::Click { url: url.to_owned() } })?;
        Ok(format!("{}/t/c/{token}", self.base_url))
    }

    pub fn open_url(&self, profile: ProfileId, effect: EffectId) -> String {
        let token = self.sign(&Token { profile, effect, kind: Kind::Open });
        format!("{}/t/o/{}.gif", self.base_url, token.expect("INVARIANT: only clicks can be refused a token"))
    }

    fn mac(&self, signed: &[u8]) -> [u8; MAC_BYTES] {
        id(&blake3::keyed_hash(&self.key, signed).as_bytes()[..MAC_BYTES])
    }
}

fn id(bytes: &[u8]) -> [u8; 16] {
    bytes.try_into().expect("INVARIANT: the slice has the 16 bytes of the format above")
}

fn constant_time_equal(ours: &[u8; MAC_BYTES], theirs: &[u8]) -> bool {
    let mut padded = [[0; 32]; 2];
    let Some(place) = padded[1].get_mut(..theirs.len()) else {
        return false;
    };
    place.copy_from_slice(theirs);
    padded[0][..MAC_BYTES].copy_from_slice(ours);
    // NOTE: `blake3::Hash` compares in constant time; arrays do not.
    blake3::Hash::from_bytes(padded[0]) == blake3::Hash::from_bytes(padded[1])
}

/// http and https alone: what a redirect may go to. No blanks and no control characters: it becomes a header.
fn is_trackable(url: &str) -> bool {
    let has_scheme = |scheme: &str| url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    let is_clean = !url.chars().any(|c| c.is_control() || c.is_whitespace());
    (has_scheme("https://") || has_scheme("http://")) && is_clean && url.len() <= Signer::URL_BYTES_MAX
}

/// Makes the links of a rendered mail lead through this installation, and adds the pixel that tells it was opened.
///
/// `href`s of `a` and `area` to http and https become `{base_url}/t/c/{token}`; others (`mailto:`, `tel:`, `#place`)
/// stay. `data-sojourn-track="off"` keeps a link as it is. The pixel goes before `</body>`, or to the end.
/// HTML that cannot be rewritten comes back unchanged: a mail without tracking is better than none.
pub fn instrument(html: &str, signer: &Signer, profile: ProfileId, effect: EffectId) -> String {
    let pixel: Rc<str> = format!(
        r#"<img src="{}" width="1" height="1" alt="" style="display:block;border:0">"#,
        signer.open_url(profile, effect)
    )
    .into();
    let has_pixel = Rc::new(Cell::new(false));
    let on_body = ElementContentHandlers::default().element(|body: &mut Element<'_, '_>| {
        let (pixel, has_pixel) = (Rc::clone(&pixel), Rc::clone(&has_pixel));
        // NOTE: not `body.append`, which loses the pixel when the body is never closed.
        if let Some(handlers) = body.end_tag_handlers() {
            handlers.push(Box::new(move |end| {
                if !has_pixel.replace(true) {
                    end.before(&pixel, ContentType::Html);
                }
                Ok(())
            }));
        }
        Ok(())
    });
    let on_link = ElementContentHandlers::default().element(|link: &mut Element<'_, '_>| {
        track(link, signer, profile, effect);
        Ok(())
    });
    let settings = RewriteStrSettings::new()
        .append_element_content_handler((Cow::Borrowed(&*LINKS), on_link))
        .append_element_content_handler((Cow::Borrowed(&*BODY), on_body))
        .append_document_content_handler(end!(|end| {
            if !has_pixel.get() {
                end.append(&pixel, ContentType::Html);
            }
            Ok(())
        }));
    rewrite_str(html, settings).unwrap_or_else(|_| html.to_owned())
}

// Parsed once: parsing them costs a third of a rewriting.
static LINKS: LazyLock<Selector> = LazyLock::new(|| selector("a[href], area[href]"));
static BODY: LazyLock<Selector> = LazyLock::new(|| selector("body"));

fn selector(text: &str) -> Selector {
    text.parse().expect("INVARIANT: the selectors above are valid")
}

fn track(link: &mut Element<'_, '_>, signer: &Signer, profile: ProfileId, effect: EffectId) {
    if let Some(switch) = link.get_attribute(SWITCH) {
        link.remove_attribute(SWITCH);
        if switch.eq_ignore_ascii_case("off") {
            return;
        }
    }
    let Some(href) = link.get_attribute("href") else {
        return;
    };
    let url = decode_entities(href.trim());
    if let Ok(tracked) = signer.click_url(profile, effect, &url) {
        link.set_attribute("href", &tracked).expect("INVARIANT: `href` is a valid name of an attribute");
    }
}

/// The characters that HTML writes as entities inside addresses. Names without `;` stay: `&copy=2` is a parameter.
fn decode_entities(text: &str) -> Cow<'_, str> {
    let Some(first) = text.find('&') else {
        return Cow::Borrowed(text);
    };
    let mut decoded = text[..first].to_owned();
    let mut rest = &text[first..];
    while let Some(at) = rest.find('&') {
        decoded.push_str(&rest[..at]);
        rest = &rest[at..];
        let entity = rest.find(';').filter(|end| *end <= 10).and_then(|end| Some((end, entity(&rest[1..end])?)));
        let (length, character) = entity.map_or((0, '&'), |(end, character)| (end, character));
        decoded.push(character);
        rest = &rest[length + 1..];
    }
    decoded.push_str(rest);
    Cow::Owned(decoded)
}

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}
