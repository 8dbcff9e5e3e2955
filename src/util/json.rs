//! JSON by hand, since it takes a page.

use std::fmt::{self, Display, Write as _};
use std::time::Duration;

/// An array.
pub(crate) fn list<T>(items: &[T], write: impl Fn(&T) -> String) -> String {
    let items: Vec<_> = items.iter().map(write).collect();
    format!("[{}]", items.join(","))
}

/// An object that is being written. What is not there is `null`.
pub(crate) struct Object(String);

impl Object {
    pub(crate) fn new() -> Object {
        Object("{".into())
    }

    fn key(&mut self, key: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        let _infallible = write!(self.0, "\"{key}\":");
    }

    /// Something whose text is JSON.
    pub(crate) fn value(&mut self, key: &str, value: Option<impl Display>) {
        self.key(key);
        match value {
            Some(value) => drop(write!(self.0, "{value}")),
            None => self.0.push_str("null"),
        }
    }

    /// Something whose text is to be a string.
    pub(crate) fn text(&mut self, key: &str, value: Option<impl Display>) {
        self.value(key, value.map(|text| Quoted(text.to_string())));
    }

    pub(crate) fn list<T>(&mut self, key: &str, items: &[T], write: impl Fn(&T) -> String) {
        self.value(key, Some(list(items, write)));
    }

    pub(crate) fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// A time in seconds, to the nanosecond.
pub(crate) struct Seconds(pub(crate) Duration);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0.as_secs(), self.0.subsec_nanos())
    }
}

struct Quoted(String);

impl Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for character in self.0.chars() {
            match character {
                '"' | '\\' => write!(f, "\\{character}")?,
                '\0'..' ' => write!(f, "\\u{:04x}", u32::from(character))?,
                _ => f.write_char(character)?,
            }
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted() {
        let mut object = Object::new();
        object.text("a", Some("x \"y\" \\ \n é"));
        object.value("b", None::<u8>);
        object.list("c", &[1, 2], u8::to_string);
        object.value("d", Some(Seconds(Duration::from_millis(1050))));
        let expected = r#"{"a":"x \"y\" \\ \u000a é","b":null,"c":[1,2],"d":1.050000000}"#;
        assert_eq!(object.end(), expected);
    }
}
