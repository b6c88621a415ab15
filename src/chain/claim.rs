//! Fields of an answer that repeat what is proven elsewhere, and the differences that are found in them.
//!
//! Such a field proves nothing and decides nothing: where it is absent the value is computed, where it differs the proven value
//! counts and the difference is counted. A value that cannot be read is a difference like any other.

use std::collections::BTreeMap;
use std::fmt::{Display, Formatter};
use std::marker::PhantomData;

use serde::de::value::{
    BorrowedStrDeserializer, F64Deserializer, I64Deserializer, MapAccessDeserializer, SeqAccessDeserializer,
    StrDeserializer, U64Deserializer,
};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// Characters of a value that are kept.
const LONGEST_VALUE: usize = 80;

/// What an answer states of something that can be computed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Claim<T> {
    /// Nothing, or null.
    #[default]
    Absent,
    /// This.
    Value(T),
    /// Something of another form; its beginning.
    Unreadable(String),
}

impl<T> Claim<T> {
    /// The value, where one is stated and can be read.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Unreadable(_) => None,
        }
    }

    /// Whether nothing is stated.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

impl<T> From<Option<T>> for Claim<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Self::Value)
    }
}

impl<T: PartialEq> Claim<T> {
    /// Whether it says nothing else than this.
    pub fn fits(&self, proven: &T) -> bool {
        match self {
            Self::Absent => true,
            Self::Value(value) => value == proven,
            Self::Unreadable(_) => false,
        }
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Claim<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ClaimVisitor(PhantomData))
    }
}

struct ClaimVisitor<T>(PhantomData<T>);

fn read<T, E>(outcome: Result<T, E>, text: impl Display) -> Claim<T> {
    outcome.map_or_else(|_| Claim::Unreadable(shortened(&text)), Claim::Value)
}

impl<'de, T: DeserializeOwned> Visitor<'de> for ClaimVisitor<T> {
    type Value = Claim<T>;

    fn expecting(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Claim::Absent)
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Claim::Absent)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(read(T::deserialize(serde::de::value::BoolDeserializer::<E>::new(value)), value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(read(T::deserialize(U64Deserializer::<E>::new(value)), value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(read(T::deserialize(I64Deserializer::<E>::new(value)), value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(read(T::deserialize(F64Deserializer::<E>::new(value)), value))
    }

    // An empty text is no number, though some types would read it as 0.
    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        if value.is_empty() {
            return Ok(Claim::Unreadable(String::new()));
        }
        Ok(read(T::deserialize(StrDeserializer::<E>::new(value)), value))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Self::Value, E> {
        if value.is_empty() {
            return Ok(Claim::Unreadable(String::new()));
        }
        Ok(read(T::deserialize(BorrowedStrDeserializer::<E>::new(value)), value))
    }

    // Read whole before they are understood: what is understood in part would leave the reader in the middle of it.
    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        let items = Value::deserialize(SeqAccessDeserializer::new(items))?;
        Ok(read(T::deserialize(items), "[…]"))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
        let members = Value::deserialize(MapAccessDeserializer::new(members))?;
        Ok(read(T::deserialize(members), "{…}"))
    }
}

/// In one line of bounded length.
fn shortened(value: &impl Display) -> String {
    let text = value.to_string();
    let mut kept: String = text.chars().take(LONGEST_VALUE).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if kept.len() < text.len() {
        kept.push('…');
    }
    kept
}

/// What an answer said of one field, and what is proven instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// How often the field differed in the block.
    pub count: u64,
    /// Index of the first transaction where it did; none for a field of the block itself.
    pub index: Option<u64>,
    /// What the answer stated there.
    pub found: String,
    /// What is proven.
    pub proven: String,
}

/// Fields of one block's answers that differed from what is proven, by name: `receipt.gasUsed`, say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences(BTreeMap<&'static str, Difference>);

impl Differences {
    /// Holds a claim against what is proven.
    pub(super) fn compare<T: PartialEq + Display>(
        &mut self,
        field: &'static str,
        index: Option<u64>,
        claim: &Claim<T>,
        proven: &T,
    ) {
        match claim {
            Claim::Absent => {}
            Claim::Value(value) if value == proven => {}
            Claim::Value(value) => self.note(field, index, value, proven),
            Claim::Unreadable(text) => self.note(field, index, text, proven),
        }
    }

    /// Counts a difference.
    pub(super) fn note(&mut self, field: &'static str, index: Option<u64>, found: impl Display, proven: impl Display) {
        let difference = self.0.entry(field).or_insert_with(|| Difference {
            count: 0,
            index,
            found: shortened(&found),
            proven: shortened(&proven),
        });
        difference.count += 1;
    }

    /// Adds those of another part of the same block.
    pub(super) fn append(&mut self, other: Self) {
        for (field, theirs) in other.0 {
            let difference = self.0.entry(field).or_insert_with(|| Difference { count: 0, ..theirs.clone() });
            difference.count += theirs.count;
        }
    }

    /// Each field that differed.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Difference)> {
        self.0.iter().map(|(field, difference)| (*field, difference))
    }

    /// Whether that field differed.
    pub(super) fn has(&self, field: &str) -> bool {
        self.0.contains_key(field)
    }

    /// Whether none differed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first of them in words, as a hint at what is wrong where a root does not fit.
    pub(super) fn hint(&self) -> String {
        match self.0.iter().next() {
            Some((field, Difference { index: Some(index), .. })) => {
                format!(" ({field} of transaction {index} does not fit either)")
            }
            Some((field, _)) => format!(" ({field} does not fit either)"),
            None => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Address, B256, U64};
    use serde::de::IgnoredAny;

    use super::*;

    fn claim<T: DeserializeOwned>(text: &str) -> Claim<T> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_claim_of_any_form_is_read_and_never_makes_an_answer_unreadable() {
        assert_eq!(claim::<U64>("null"), Claim::Absent);
        assert_eq!(claim::<U64>("\"0x1f\""), Claim::Value(U64::from(31)));
        assert_eq!(claim::<U64>("31"), Claim::Value(U64::from(31)));
        assert_eq!(claim::<bool>("true"), Claim::Value(true));
        assert_eq!(claim::<Vec<IgnoredAny>>("[1,{}]").value().map(Vec::len), Some(2));
        for (text, kept) in [
            ("\"0xzz\"", "0xzz"),
            ("\"\"", ""),
            ("1.5", "1.5"),
            ("-1", "-1"),
            ("true", "true"),
            ("[1,[2]]", "[…]"),
            ("{\"a\":{\"b\":1}}", "{…}"),
            ("\"0x10000000000000000\"", "0x10000000000000000"),
        ] {
            let unreadable = kept.to_owned();
            assert_eq!(claim::<U64>(text), Claim::Unreadable(unreadable.clone()), "{text}");
            assert_eq!(claim::<B256>(text), Claim::Unreadable(unreadable), "{text}");
            let pair: (Claim<Address>, u8) = serde_json::from_str(&format!("[{text},7]")).unwrap();
            assert_eq!(pair.1, 7, "the reader goes on behind {text}");
        }
    }

    #[test]
    fn differences_are_counted_by_field_with_the_first_of_each() {
        let mut all = Differences::default();
        for (index, stated) in [(0, 1u64), (1, 2), (2, 3)] {
            all.compare("receipt.gasUsed", Some(index), &Claim::Value(stated), &1);
        }
        all.compare("receipt.gasUsed", Some(9), &Claim::Absent, &1);
        all.compare("block.size", None, &Claim::Unreadable("x".repeat(500)), &7u64);
        let (field, gas) = all.iter().last().unwrap();
        assert_eq!((field, gas.count, gas.index), ("receipt.gasUsed", 2, Some(1)));
        assert_eq!((gas.found.as_str(), gas.proven.as_str()), ("2", "1"));
        assert!(all.iter().all(|(_, difference)| difference.found.chars().count() <= LONGEST_VALUE + 1));
    }
}
