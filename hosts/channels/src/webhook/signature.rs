//! Standard Webhooks signatures.
//!
//! ```text
//! key        the base64 after `whsec_`
//! signed     {webhook-id} "." {webhook-timestamp, seconds} "." {body}
//! header     webhook-signature: v1,{base64 of HMAC-SHA256} [v1,…]      one per key
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

pub(super) struct Signer {
    keys: Vec<hmac::Key>,
}

impl Signer {
    /// Bytes of a key, as the standard bounds them.
    const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

    /// # Errors
    /// What is wrong with a secret; it is named by its place, never shown.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let key = |(at, secret): (usize, &str)| {
            let place = format!("secret {}", at + 1);
            let encoded = secret.strip_prefix("whsec_").ok_or_else(|| format!("{place} does not begin with whsec_"))?;
            let bytes = STANDARD.decode(encoded).map_err(|_| format!("{place} is not base64 after whsec_"))?;
            if !Self::KEY_BYTES.contains(&bytes.len()) {
                return Err(format!("{place} holds {} bytes; 24 to 64 are wanted", bytes.len()));
            }
            Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
        };
        Ok(Signer { keys: secrets.into_iter().enumerate().map(key).collect::<Result<_, String>>()? })
    }

    /// The value of `webhook-signature`; None without keys.
    pub fn sign(&self, id: &str, at_seconds: i64, body: &[u8]) -> Option<String> {
        let one = |key: &hmac::Key| {
            let mut context = hmac::Context::with_key(key);
            context.update(format!("{id}.{at_seconds}.").as_bytes());
            context.update(body);
            format!("v1,{}", STANDARD.encode(context.sign()))
        };
        let signatures: Vec<String> = self.keys.iter().map(one).collect();
        (!signatures.is_empty()).then(|| signatures.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn the_signature_is_that_of_the_published_example() {
        let signer = Signer::new([SECRET]).unwrap();
        let signature = signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature.as_deref(), Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
    }

    #[test]
    fn during_a_change_of_secrets_both_sign() {
        let other = format!("whsec_{}", STANDARD.encode([7; 32]));
        let both = Signer::new([SECRET, &other]).unwrap().sign("msg_1", 1, b"x").unwrap();
        let alone = Signer::new([other.as_str()]).unwrap().sign("msg_1", 1, b"x").unwrap();
        assert_eq!(both.split(' ').count(), 2);
        assert!(both.ends_with(&alone), "{both}");
        assert_eq!(Signer::new([]).unwrap().sign("msg_1", 1, b"x"), None);
    }

    #[test]
    fn a_bad_secret_is_named_by_its_place() {
        for (bad, why) in [("MfKQ9r8G", "whsec_"), ("whsec_!!", "base64"), ("whsec_MfKQ9r8G", "24 to 64")] {
            let Err(error) = Signer::new([SECRET, bad]) else { panic!("{bad} was taken") };
            assert!(error.starts_with("secret 2") && error.contains(why), "{error}");
        }
    }
}
