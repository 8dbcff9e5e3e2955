//! What is asked: one flat JSON object in a line.
//!
//! Flat, since a request needs no more, and so a line of brackets cannot nest without end. What is
//! not known is refused: a filter that is misspelt must not show everything.

use super::survey::Filter;
use crate::dump::CoroutineState;
use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// Coroutines in one answer.
pub(super) const MOST: usize = 1000;

/// A value that is no array and no object.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Null,
    Bool(bool),
    Number(u64),
    Text(String),
}

/// The object, without the keys that somebody has taken.
struct Fields(BTreeMap<String, Value>);

/// A request, and the number that its answer is to carry.
pub(super) struct Request {
    pub(super) id: Option<u64>,
    pub(super) what: Result<What, String>,
}

#[derive(Debug, PartialEq)]
pub(super) enum What {
    Hello,
    Metrics,
    Summary,
    Coroutines { filter: Filter, order: Order, page: Page },
    Coroutine(u64),
    Tree { parent: Option<u64>, page: Page },
    Dump,
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Order {
    pub(super) by_age: bool,
    pub(super) reverse: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Page {
    pub(super) offset: usize,
    pub(super) limit: usize,
}

impl Request {
    pub(super) fn parse(line: &[u8]) -> Request {
        let fields = std::str::from_utf8(line).map_err(|_| "not UTF-8".to_owned());
        match fields.and_then(object) {
            Err(message) => Request { id: None, what: Err(message) },
            Ok(mut fields) => match fields.number("id") {
                Err(message) => Request { id: None, what: Err(message) },
                Ok(id) => Request { id, what: what(fields) },
            },
        }
    }
}

fn what(mut fields: Fields) -> Result<What, String> {
    match fields.number("v")? {
        None | Some(super::VERSION) => {}
        Some(other) => {
            return Err(format!("version {other} is not spoken here, but {}", super::VERSION));
        }
    }
    let request = fields.text("request")?.ok_or("no \"request\"")?;
    let what = match request.as_str() {
        "hello" => What::Hello,
        "metrics" => What::Metrics,
        "summary" => What::Summary,
        "dump" => What::Dump,
        "text" => What::Text,
        "coroutine" => What::Coroutine(fields.number("coroutine")?.ok_or("no \"coroutine\"")?),
        "tree" => What::Tree { parent: fields.number("parent")?, page: fields.page()? },
        "coroutines" => {
            let by_age = match fields.text("sort")?.as_deref() {
                None | Some("id") => false,
                Some("age") => true,
                Some(other) => return Err(format!("sorted by id or by age, not by {other:?}")),
            };
            let filter = Filter {
                text: fields.text("text")?.map(|text| text.to_lowercase()),
                state: fields.text("state")?.map(|name| state(&name)).transpose()?,
                reason: fields.text("reason")?,
                runtime: fields.text("runtime")?,
                worker: fields.number("worker")?,
                parent: fields.number("parent")?,
            };
            let order = Order { by_age, reverse: fields.flag("reverse")? };
            What::Coroutines { filter, order, page: fields.page()? }
        }
        other => return Err(format!("no request is called {other:?}")),
    };
    match fields.0.keys().next() {
        None => Ok(what),
        Some(key) => Err(format!("{request:?} has no {key:?}")),
    }
}

fn state(name: &str) -> Result<CoroutineState, String> {
    let all = super::STATES.into_iter();
    let mut named = all.filter(|state| state.to_string() == name);
    named.next().ok_or_else(|| format!("no state is called {name:?}"))
}

impl Fields {
    fn take(&mut self, key: &str) -> Value {
        self.0.remove(key).unwrap_or(Value::Null)
    }

    fn number(&mut self, key: &str) -> Result<Option<u64>, String> {
        match self.take(key) {
            Value::Null => Ok(None),
            Value::Number(number) => Ok(Some(number)),
            _ => Err(format!("{key:?} is no number")),
        }
    }

    fn text(&mut self, key: &str) -> Result<Option<String>, String> {
        match self.take(key) {
            Value::Null => Ok(None),
            Value::Text(text) => Ok(Some(text)),
            _ => Err(format!("{key:?} is no string")),
        }
    }

    fn flag(&mut self, key: &str) -> Result<bool, String> {
        match self.take(key) {
            Value::Null => Ok(false),
            Value::Bool(flag) => Ok(flag),
            _ => Err(format!("{key:?} is neither true nor false")),
        }
    }

    fn page(&mut self) -> Result<Page, String> {
        let size = |number: Option<u64>, default| {
            number.map_or(default, |number| usize::try_from(number).unwrap_or(usize::MAX))
        };
        let offset = size(self.number("offset")?, 0);
        let limit = size(self.number("limit")?, 100);
        if limit > MOST {
            return Err(format!("a limit of {limit}: not over {MOST}"));
        }
        Ok(Page { offset, limit })
    }
}

fn object(line: &str) -> Result<Fields, String> {
    let mut scanner = Scanner(line.chars().peekable());
    scanner.expect('{')?;
    let mut fields = BTreeMap::new();
    if !scanner.skip('}') {
        loop {
            let key = scanner.string()?;
            scanner.expect(':')?;
            let value = scanner.value()?;
            if fields.insert(key, value).is_some() {
                return Err("a key stands there twice".into());
            }
            if !scanner.skip(',') {
                break;
            }
        }
        scanner.expect('}')?;
    }
    match scanner.peek() {
        None => Ok(Fields(fields)),
        Some(_) => Err("something follows the object".into()),
    }
}

struct Scanner<'a>(Peekable<Chars<'a>>);

impl Scanner<'_> {
    /// The next character that is no space.
    fn peek(&mut self) -> Option<char> {
        while self.0.next_if(|c| matches!(c, ' ' | '\t' | '\r' | '\n')).is_some() {}
        self.0.peek().copied()
    }

    fn skip(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.0.next();
        }
        found
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        match self.skip(wanted) {
            true => Ok(()),
            false => Err(format!("not a flat JSON object: {wanted:?} is missing")),
        }
    }

    fn value(&mut self) -> Result<Value, String> {
        if self.peek() == Some('"') {
            return self.string().map(Value::Text);
        }
        let mut word = String::new();
        while let Some(c) = self.0.next_if(|c| c.is_ascii_alphanumeric() || "+-.".contains(*c)) {
            word.push(c);
        }
        match word.as_str() {
            "null" => Ok(Value::Null),
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            digits => match digits.parse() {
                Ok(number) if !digits.starts_with('+') => Ok(Value::Number(number)),
                _ => Err("a value that is no string, no whole number, true, false or null".into()),
            },
        }
    }

    fn string(&mut self) -> Result<String, String> {
        self.expect('"')?;
        let mut text = String::new();
        loop {
            match self.0.next() {
                Some('"') => return Ok(text),
                Some('\\') => text.push(self.escaped()?),
                Some(c) if c >= ' ' => text.push(c),
                _ => return Err("a string that does not end".into()),
            }
        }
    }

    fn escaped(&mut self) -> Result<char, String> {
        let c = match self.0.next() {
            Some(c @ ('"' | '\\' | '/')) => Some(c),
            Some('n') => Some('\n'),
            Some('t') => Some('\t'),
            Some('r') => Some('\r'),
            Some('b') => Some('\u{8}'),
            Some('f') => Some('\u{c}'),
            Some('u') => self.code_point(),
            _ => None,
        };
        c.ok_or_else(|| "an escape that JSON does not have".into())
    }

    fn code_point(&mut self) -> Option<char> {
        let first = self.unit()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first);
        }
        self.0.next_if_eq(&'\\')?;
        self.0.next_if_eq(&'u')?;
        let units = [first as u16, self.unit()? as u16];
        char::decode_utf16(units).next()?.ok()
    }

    fn unit(&mut self) -> Option<u32> {
        (0..4).try_fold(0, |unit, _| Some(unit * 16 + self.0.next()?.to_digit(16)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Result<What, String> {
        Request::parse(line.as_bytes()).what
    }

    #[test]
    fn requests_are_understood() {
        assert_eq!(asked(r#"{"request":"summary"}"#), Ok(What::Summary));
        assert_eq!(asked(r#" { "v" : 1 , "request" : "metrics" } "#), Ok(What::Metrics));
        assert_eq!(asked(r#"{"request":"coroutine","coroutine":7}"#), Ok(What::Coroutine(7)));
        assert_eq!(Request::parse(br#"{"id":9,"request":"x"}"#).id, Some(9));
        let line = concat!(
            r#"{"request":"coroutines","text":"A\u00e9\ud83d\ude00\"","state":"parked","#,
            r#""sort":"age","reverse":true,"offset":5,"limit":10,"worker":1,"parent":null}"#
        );
        let Ok(What::Coroutines { filter, order, page }) = asked(line) else { panic!() };
        assert_eq!(filter.text.as_deref(), Some("aé😀\""));
        assert_eq!(filter.state, Some(CoroutineState::Parked));
        assert_eq!((filter.worker, filter.parent), (Some(1), None));
        assert_eq!(order, Order { by_age: true, reverse: true });
        assert_eq!(page, Page { offset: 5, limit: 10 });
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let wrong = [
            "",
            "x",
            "[]",
            "{",
            "{}",
            "{}{}",
            r#"{"request"}"#,
            r#"{"request":"#,
            r#"{"request":"summary""#,
            r#"{"request":"summary"} x"#,
            r#"{"request":"summary","request":"summary"}"#,
            r#"{"request":"nonsense"}"#,
            r#"{"request":7}"#,
            r#"{"request":"summary","v":2}"#,
            r#"{"request":"summary","worker":1}"#,
            r#"{"request":"coroutines","worker":-1}"#,
            r#"{"request":"coroutines","worker":1.5}"#,
            r#"{"request":"coroutines","worker":[[[[]]]]}"#,
            r#"{"request":"coroutines","state":"asleep"}"#,
            r#"{"request":"coroutines","sort":"name"}"#,
            r#"{"request":"coroutines","limit":1001}"#,
            r#"{"request":"coroutines","text":"\ud800"}"#,
            r#"{"request":"coroutines","text":"\x"}"#,
            r#"{"request":"coroutine"}"#,
        ];
        for line in wrong {
            assert!(asked(line).is_err(), "{line}");
        }
        assert!(Request::parse(b"{\"request\":\"\xff\"}").what.is_err());
    }
}
