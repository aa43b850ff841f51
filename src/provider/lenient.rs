//! Reading other people's JSON without being strict about it.
//!
//! A result line is paid for; a field that is null, missing, or of another type than documented must
//! not cost the rest. These types take any JSON value: the one they are for, or else nothing. They
//! borrow from the line where they can, for a million lines are read in a row.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::base::Time;

/// What a visitor says of the kinds of value that it is not for: nothing.
macro_rules! nothing_for {
    ($($kind:ident)*) => { $(nothing_for!(@ $kind);)* };
    (@ null) => {
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
    };
    (@ bool) => {
        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
    };
    (@ number) => {
        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }

        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }

        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
    };
    (@ text) => {
        fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
    };
    (@ list) => {
        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
            IgnoredAny.visit_seq(list).map(|_| Self::Value::default())
        }
    };
    (@ object) => {
        fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Self::Value, A::Error> {
            IgnoredAny.visit_map(object).map(|_| Self::Value::default())
        }
    };
}

macro_rules! expecting_anything {
    () => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("any JSON value")
        }
    };
}

/// A string; a number is taken as one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Word<'a>(pub(super) Option<Cow<'a, str>>);

impl<'a> Word<'a> {
    /// The text; empty where there is none.
    pub(super) fn text(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    /// The text with its lifetime; empty where there is none.
    pub(super) fn into_text(self) -> Cow<'a, str> {
        self.0.unwrap_or_default()
    }

    /// The text, unless it is absent or empty.
    pub(super) fn filled(self) -> Option<Cow<'a, str>> {
        self.0.filter(|text| !text.is_empty())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Word<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordVisitor).map(Word)
    }
}

struct WordVisitor;

impl<'de> Visitor<'de> for WordVisitor {
    type Value = Option<Cow<'de, str>>;

    expecting_anything!();
    nothing_for!(null bool list object);

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(number.to_string())))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(number.to_string())))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(number.to_string())))
    }
}

/// The text of a message: a string, or the parts of type `text` of a list, joined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Content<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor).map(Content)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Cow<'de, str>;

    expecting_anything!();
    nothing_for!(null bool number object);

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut joined = Cow::Borrowed("");
        while let Some(Object(part)) = list.next_element::<Object<Part<'de>>>()? {
            let Some(part) = part.filter(|part| part.kind.text() == "text") else {
                continue;
            };
            let text = part.text.into_text();
            if joined.is_empty() {
                joined = text;
            } else {
                joined.to_mut().push_str(&text);
            }
        }
        Ok(joined)
    }
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Part<'a> {
    #[serde(borrow, rename = "type")]
    kind: Word<'a>,
    #[serde(borrow)]
    text: Word<'a>,
}

/// The most that anything is believed to count: far above any batch's tokens, and low enough that no
/// sum of such numbers overflows.
const COUNT_MAX: u64 = 1 << 36;

/// A number that counts something; zero where there is none, and never above [`COUNT_MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count(pub(super) u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let count = deserializer.deserialize_any(CountVisitor)?;
        Ok(Count(count.min(COUNT_MAX)))
    }
}

struct CountVisitor;

impl<'de> Visitor<'de> for CountVisitor {
    type Value = u64;

    expecting_anything!();
    nothing_for!(null bool list object);

    fn visit_u64<E>(self, number: u64) -> Result<u64, E> {
        Ok(number)
    }

    fn visit_i64<E>(self, number: i64) -> Result<u64, E> {
        Ok(u64::try_from(number).unwrap_or_default())
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates: below zero and not-a-number become zero"
    )]
    fn visit_f64<E>(self, number: f64) -> Result<u64, E> {
        Ok(number as u64)
    }

    fn visit_str<E>(self, text: &str) -> Result<u64, E> {
        Ok(text.parse().unwrap_or_default())
    }
}

/// Whether something holds, where that is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flag(pub(super) Option<bool>);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FlagVisitor).map(Flag)
    }
}

struct FlagVisitor;

impl<'de> Visitor<'de> for FlagVisitor {
    type Value = Option<bool>;

    expecting_anything!();
    nothing_for!(null number text list object);

    fn visit_bool<E>(self, said: bool) -> Result<Self::Value, E> {
        Ok(Some(said))
    }
}

/// A moment: seconds since 1970, or RFC 3339.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moment(pub(super) Option<Time>);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MomentVisitor).map(Moment)
    }
}

struct MomentVisitor;

impl<'de> Visitor<'de> for MomentVisitor {
    type Value = Option<Time>;

    expecting_anything!();
    nothing_for!(null bool list object);

    fn visit_u64<E>(self, seconds: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(seconds).ok().and_then(at))
    }

    fn visit_i64<E>(self, seconds: i64) -> Result<Self::Value, E> {
        Ok(at(seconds))
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "`as` saturates, and parts of a second do not matter"
    )]
    fn visit_f64<E>(self, seconds: f64) -> Result<Self::Value, E> {
        Ok(at(seconds as i64))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        let time = chrono::DateTime::parse_from_rfc3339(text).ok();
        Ok(time.map(|time| time.to_utc()))
    }
}

fn at(seconds: i64) -> Option<Time> {
    Time::from_timestamp(seconds, 0)
}

/// An object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Object<T>(pub(super) Option<T>);

impl<T> Default for Object<T> {
    fn default() -> Self {
        Object(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    expecting_anything!();
    nothing_for!(null bool number text list);

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(object)).map(|object| Object(Some(object)))
    }
}

/// An object, or a sentence in its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Said<'a, T> {
    /// Neither.
    #[default]
    Nothing,
    /// The object.
    Object(T),
    /// The sentence.
    Text(Cow<'a, str>),
}

impl<'de: 'a, 'a, T: Deserialize<'de>> Deserialize<'de> for Said<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SaidVisitor(PhantomData))
    }
}

struct SaidVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for SaidVisitor<T> {
    type Value = Said<'de, T>;

    expecting_anything!();
    nothing_for!(null bool number list);

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Said::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Said::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(object)).map(Said::Object)
    }
}

/// The objects of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Items<T>(pub(super) Vec<T>);

impl<T> Default for Items<T> {
    fn default() -> Self {
        Items(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Items<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ItemsVisitor(PhantomData))
    }
}

struct ItemsVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ItemsVisitor<T> {
    type Value = Items<T>;

    expecting_anything!();
    nothing_for!(null bool number text object);

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Object(item)) = list.next_element()? {
            items.extend(item);
        }
        Ok(Items(items))
    }
}

/// The objects of a list, where there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed<T>(pub(super) Option<Vec<T>>);

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Listed(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Listed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListedVisitor(PhantomData))
    }
}

struct ListedVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListedVisitor<T> {
    type Value = Listed<T>;

    expecting_anything!();
    nothing_for!(null bool number text object);

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        ItemsVisitor(PhantomData)
            .visit_seq(list)
            .map(|items| Listed(Some(items.0)))
    }
}

/// The first object of a list, without a copy of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct First<T>(pub(super) Option<T>);

impl<T> Default for First<T> {
    fn default() -> Self {
        First(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for First<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FirstVisitor(PhantomData))
    }
}

struct FirstVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for FirstVisitor<T> {
    type Value = First<T>;

    expecting_anything!();
    nothing_for!(null bool number text object);

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while let Some(Object(item)) = list.next_element()? {
            if item.is_some() {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(First(item));
            }
        }
        Ok(First(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(default)]
    struct All<'a> {
        #[serde(borrow)]
        word: Word<'a>,
        #[serde(borrow)]
        content: Content<'a>,
        count: Count,
        flag: Flag,
        moment: Moment,
        object: Object<Inner>,
        items: Items<Inner>,
        first: First<Inner>,
        #[serde(borrow)]
        said: Said<'a, Inner>,
    }

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(default)]
    struct Inner {
        n: Count,
    }

    #[test]
    fn no_kind_of_value_fails_any_field() {
        let values = [
            "null",
            "true",
            "7",
            "-7",
            "7.5",
            "1e300",
            r#""text""#,
            r#""esc\n""#,
            "[]",
            r#"[1,null,{"n":3},[{}],"x"]"#,
            "{}",
            r#"{"n":{"n":[]}}"#,
        ];
        let fields = [
            "word", "content", "count", "flag", "moment", "object", "items", "said", "first",
            "unknown",
        ];
        for value in values {
            for field in fields {
                let json = format!(r#"{{"{field}":{value}}}"#);
                let read: Result<All<'_>, _> = serde_json::from_str(&json);
                assert!(read.is_ok(), "{json}: {read:?}");
            }
        }
    }

    #[test]
    fn each_field_takes_what_it_is_for() {
        let json = r#"{"word":"w","content":[{"type":"thinking","text":"no"},{"type":"text","text":"a"},
            {"type":"text","text":"b\n"},null,{"type":"text"}],"count":"12","flag":false,
            "moment":"1970-01-01T00:01:00.5Z","object":{"n":-1},"items":[{"n":1},2,{"n":3.9}],"said":"no","first":[null,{"n":5},{"n":6}]}"#;
        let read: All<'_> = serde_json::from_str(json).expect("JSON");
        let n = |n| Inner { n: Count(n) };
        let expect = All {
            word: Word(Some("w".into())),
            content: Content("ab\n".into()),
            count: Count(12),
            flag: Flag(Some(false)),
            moment: Moment(at(60).map(|time| time + chrono::Duration::milliseconds(500))),
            object: Object(Some(n(0))),
            items: Items(vec![n(1), n(3)]),
            first: First(Some(n(5))),
            said: Said::Text("no".into()),
        };
        assert_eq!(read, expect);
    }

    #[test]
    fn a_plain_text_is_borrowed() {
        let json = r#"{"word":"w","content":[{"type":"text","text":"a"}]}"#;
        let read: All<'_> = serde_json::from_str(json).expect("JSON");
        assert!(matches!(read.word.0, Some(Cow::Borrowed("w"))));
        assert!(matches!(read.content.0, Cow::Borrowed("a")));
    }
}
