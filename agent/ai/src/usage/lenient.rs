//! Reading figures that may be anything.

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{DetailFigures, Details, Figure};

/// Takes what it knows, and anything else for absent, so that one odd member does not cost the rest.
struct Lenient;

enum Either {
    Number(u64),
    Object(DetailFigures),
    Neither,
}

impl<'de> Visitor<'de> for Lenient {
    type Value = Either;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("anything")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Either, E> {
        Ok(Either::Number(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Either, E> {
        Ok(Either::Neither) // positive ones come as u64
    }

    fn visit_f64<E>(self, number: f64) -> Result<Either, E> {
        Ok(if number >= 0.0 {
            Either::Number(number.round() as u64)
        } else {
            Either::Neither
        })
    }

    fn visit_bool<E>(self, _: bool) -> Result<Either, E> {
        Ok(Either::Neither)
    }

    fn visit_str<E>(self, _: &str) -> Result<Either, E> {
        Ok(Either::Neither)
    }

    fn visit_unit<E>(self) -> Result<Either, E> {
        Ok(Either::Neither)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Either, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Either::Neither)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Either, A::Error> {
        DetailFigures::deserialize(MapAccessDeserializer::new(members)).map(Either::Object)
    }
}

impl<'de> Deserialize<'de> for Figure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match deserializer.deserialize_any(Lenient)? {
            Either::Number(number) => Self(Some(number)),
            _ => Self(None),
        })
    }
}

impl<'de> Deserialize<'de> for Details {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match deserializer.deserialize_any(Lenient)? {
            Either::Object(figures) => Self(figures),
            _ => Self::default(),
        })
    }
}
