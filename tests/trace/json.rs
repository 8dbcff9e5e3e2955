//! A strict reader of JSON.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    /// As it was written.
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

impl Json {
    /// Panics at whatever is not exactly one value.
    pub(crate) fn parse(text: &str) -> Json {
        let mut chars = text.chars().peekable();
        let value = value(&mut chars);
        space(&mut chars);
        assert_eq!(chars.next(), None, "more than one value");
        value
    }

    /// What an object has under that key, if it has.
    pub(crate) fn get(&self, key: &str) -> Option<&Json> {
        let Json::Object(object) = self else { panic!("{self:?} is no object") };
        object.get(key)
    }

    pub(crate) fn text(&self) -> &str {
        let Json::Text(text) = self else { panic!("{self:?} is no text") };
        text
    }

    pub(crate) fn list(&self) -> &[Json] {
        let Json::List(list) = self else { panic!("{self:?} is no list") };
        list
    }

    pub(crate) fn number(&self) -> u64 {
        let Json::Number(number) = self else { panic!("{self:?} is no number") };
        number.parse().unwrap()
    }

    /// A number of microseconds, in nanoseconds.
    pub(crate) fn nanos(&self) -> u64 {
        let Json::Number(number) = self else { panic!("{self:?} is no number") };
        let (whole, parts) = number.split_once('.').unwrap();
        assert_eq!(parts.len(), 3, "{number}");
        whole.parse::<u64>().unwrap() * 1000 + parts.parse::<u64>().unwrap()
    }
}

type Text<'a> = Peekable<Chars<'a>>;

fn space(text: &mut Text<'_>) {
    while text.next_if(|c| matches!(c, ' ' | '\t' | '\n' | '\r')).is_some() {}
}

fn expect(text: &mut Text<'_>, expected: &str) {
    for c in expected.chars() {
        assert_eq!(text.next(), Some(c), "in {expected:?}");
    }
}

/// The parts of a list or an object.
fn parts(text: &mut Text<'_>, open: char, close: char, mut part: impl FnMut(&mut Text<'_>)) {
    assert_eq!(text.next(), Some(open));
    space(text);
    if text.next_if_eq(&close).is_some() {
        return;
    }
    loop {
        part(text);
        space(text);
        match text.next() {
            Some(',') => space(text),
            end => return assert_eq!(end, Some(close)),
        }
    }
}

fn value(text: &mut Text<'_>) -> Json {
    space(text);
    match *text.peek().expect("a value") {
        '{' => {
            let mut object = BTreeMap::new();
            parts(text, '{', '}', |text| {
                let key = string(text);
                space(text);
                expect(text, ":");
                assert!(object.insert(key.clone(), value(text)).is_none(), "{key} twice");
            });
            Json::Object(object)
        }
        '[' => {
            let mut list = Vec::new();
            parts(text, '[', ']', |text| list.push(value(text)));
            Json::List(list)
        }
        '"' => Json::Text(string(text)),
        'n' => {
            expect(text, "null");
            Json::Null
        }
        't' => {
            expect(text, "true");
            Json::Bool(true)
        }
        'f' => {
            expect(text, "false");
            Json::Bool(false)
        }
        _ => number(text),
    }
}

fn number(text: &mut Text<'_>) -> Json {
    let mut number = String::new();
    while let Some(c) = text.next_if(|c| c.is_ascii_digit() || "+-.eE".contains(*c)) {
        number.push(c);
    }
    number.parse::<f64>().unwrap();
    Json::Number(number)
}

fn string(text: &mut Text<'_>) -> String {
    expect(text, "\"");
    let mut string = String::new();
    loop {
        match text.next().expect("the end of a string") {
            '"' => return string,
            '\\' => match text.next().expect("an escape") {
                c @ ('"' | '\\' | '/') => string.push(c),
                'n' => string.push('\n'),
                'u' => {
                    let digits: String = text.take(4).collect();
                    string.extend(char::from_u32(u32::from_str_radix(&digits, 16).unwrap()));
                }
                other => panic!("the escape {other:?}"),
            },
            c => {
                assert!(c >= ' ', "a control character");
                string.push(c);
            }
        }
    }
}
