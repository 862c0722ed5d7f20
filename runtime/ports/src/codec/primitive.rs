//! The smallest pieces.
//!
//! ```text
//! number     LEB128: seven bits a byte, lowest first, the high bit set but in the last; the fewest bytes, at most 10
//! signed     zigzag, then as a number
//! bytes      number of bytes, the bytes
//! text       bytes that are UTF-8
//! list       number of items, the items
//! option     byte 0, or byte 1 and the value
//! id         its 16 bytes
//! timestamp  milliseconds since the epoch, signed
//! ```
//! A value has one form only: what was not written like this is not read, so that bytes that decode encode to themselves.

use model::{EffectId, KeySlot, Lsn, ParticipantId, ProfileId, Text, Timestamp};

/// Why bytes cannot be read. They never come from outside: a damaged disk, or a newer program wrote them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {at_byte}: {what}")]
pub struct Error {
    pub at_byte: usize,
    pub what: &'static str,
}

/// A list reserves room for so many items before it has read them.
const CAPACITY_ITEMS_MAX: usize = 1024;

pub(crate) type Read<T> = Result<T, Error>;

pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes, at: 0 }
    }

    pub fn fail<T>(&self, what: &'static str) -> Read<T> {
        Err(Error { at_byte: self.at, what })
    }

    /// Everything must have been read.
    pub fn end(self) -> Read<()> {
        if self.at == self.bytes.len() { Ok(()) } else { self.fail("more bytes than expected") }
    }

    pub fn byte(&mut self) -> Read<u8> {
        match self.bytes.get(self.at) {
            Some(byte) => {
                self.at += 1;
                Ok(*byte)
            }
            None => self.fail("the bytes end too early"),
        }
    }

    pub fn number(&mut self) -> Read<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return self.fail("a number is larger than 64 bits");
            }
            if byte == 0 && shift > 0 {
                return self.fail("a number has more bytes than it needs");
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        self.fail("a number has more than 10 bytes")
    }

    pub fn signed(&mut self) -> Read<i64> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    pub fn u32(&mut self) -> Read<u32> {
        let number = self.number()?;
        u32::try_from(number).or_else(|_| self.fail("a number is larger than 32 bits"))
    }

    pub fn u16(&mut self) -> Read<u16> {
        let number = self.number()?;
        u16::try_from(number).or_else(|_| self.fail("a number is larger than 16 bits"))
    }

    pub fn bool(&mut self) -> Read<bool> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => self.fail("a truth value is neither 0 nor 1"),
        }
    }

    pub fn take(&mut self, count: usize) -> Read<&'a [u8]> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let Some(end) = end else { return self.fail("the bytes end too early") };
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub fn raw(&mut self) -> Read<&'a [u8]> {
        let count = self.number()?;
        let count = usize::try_from(count).or_else(|_| self.fail("a length is too large"))?;
        self.take(count)
    }

    pub fn str(&mut self) -> Read<&'a str> {
        let bytes = self.raw()?;
        std::str::from_utf8(bytes).or_else(|_| self.fail("a text is not UTF-8"))
    }

    pub fn text(&mut self) -> Read<Text> {
        self.str().map(Text::from)
    }

    /// The number of items of a list. Each has at least one byte, so a hostile one is refused before it allocates.
    pub fn count(&mut self) -> Read<usize> {
        let count = self.number()?;
        let left = self.bytes.len() - self.at;
        match usize::try_from(count) {
            Ok(count) if count <= left => Ok(count),
            Ok(_) | Err(_) => self.fail("a list is longer than its bytes"),
        }
    }

    pub fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        let count = self.count()?;
        // NOTE: an item in memory is larger than its one byte on disk at least; beyond this a list grows as it is read.
        let mut items = Vec::with_capacity(count.min(CAPACITY_ITEMS_MAX));
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    pub fn option<T>(&mut self, value: impl FnOnce(&mut Self) -> Read<T>) -> Read<Option<T>> {
        if self.bool()? { value(self).map(Some) } else { Ok(None) }
    }

    pub fn timestamp(&mut self) -> Read<Timestamp> {
        let ms = self.signed()?;
        let at = Timestamp::from_ms(ms);
        if at.as_ms() == ms { Ok(at) } else { self.fail("an instant is out of range") }
    }

    pub fn lsn(&mut self) -> Read<Lsn> {
        self.number().map(Lsn)
    }

    pub fn slot(&mut self) -> Read<KeySlot> {
        self.u32().map(KeySlot)
    }

    pub fn profile(&mut self) -> Read<ProfileId> {
        self.array().map(ProfileId)
    }

    pub fn participant(&mut self) -> Read<ParticipantId> {
        self.array().map(ParticipantId)
    }

    pub fn effect(&mut self) -> Read<EffectId> {
        self.array().map(EffectId)
    }
}

/// The writing side, over the buffer that everything is appended to.
pub(crate) trait Write {
    fn byte(&mut self, byte: u8);
    fn take(&mut self, bytes: &[u8]);

    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.byte(number as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8);
    }

    fn signed(&mut self, number: i64) {
        self.number(((number << 1) ^ (number >> 63)) as u64);
    }

    fn bool(&mut self, truth: bool) {
        self.byte(u8::from(truth));
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.take(bytes);
    }

    fn text(&mut self, text: &str) {
        self.raw(text.as_bytes());
    }

    fn list<T>(&mut self, items: &[T], mut item: impl FnMut(&mut Self, &T))
    where
        Self: Sized,
    {
        self.number(items.len() as u64);
        for each in items {
            item(self, each);
        }
    }

    fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T))
    where
        Self: Sized,
    {
        self.bool(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn timestamp(&mut self, at: Timestamp) {
        self.signed(at.as_ms());
    }
}

impl Write for Vec<u8> {
    fn byte(&mut self, byte: u8) {
        self.push(byte);
    }
    fn take(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}
