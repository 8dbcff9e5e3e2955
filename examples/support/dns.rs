//! A name server for a table of names, RFC 1035. It is the authority for all that it knows, and
//! knows nothing else.

use pirn::net::{Datagrams, SocketAddr, UdpSocket};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Seconds for which an answer holds.
const TTL: u32 = 60;
/// The longest response over UDP that every client takes.
const MAX_RESPONSE: usize = 512;
/// The longest query that is looked at.
const MAX_QUERY: usize = 1232;
const AT_ONCE: usize = 32;

const HEADER: usize = 12;
const MAX_LABEL: usize = 63;
const MAX_NAME: usize = 255;
/// The name that stands right behind the header, in an answer.
const QUESTION_NAME: u16 = 0xC000 | HEADER as u16;

const TYPE_ANY: u16 = 255;
const CLASS_IN: u16 = 1;
const CLASS_ANY: u16 = 255;

/// How a query ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    NoError = 0,
    FormatError = 1,
    NoSuchName = 3,
    NotImplemented = 4,
    Refused = 5,
}

/// What is known of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Record {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Txt(String),
}

impl Record {
    fn kind(&self) -> u16 {
        match self {
            Record::A(_) => 1,
            Record::Txt(_) => 16,
            Record::Aaaa(_) => 28,
        }
    }

    fn data(&self) -> Vec<u8> {
        match self {
            Record::A(address) => address.octets().to_vec(),
            Record::Aaaa(address) => address.octets().to_vec(),
            Record::Txt(text) if text.is_empty() => vec![0],
            // Strings of up to 255 bytes, each behind its length.
            Record::Txt(text) => text
                .as_bytes()
                .chunks(255)
                .flat_map(|part| [&[part.len() as u8], part].concat())
                .collect(),
        }
    }
}

/// Names and what is known of them.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<(Vec<u8>, Record)>);

impl Table {
    /// From `name=192.0.2.1`, `name=2001:db8::1` and `name=txt:some text`.
    pub(crate) fn parse<S: AsRef<str>>(records: &[S]) -> io::Result<Table> {
        let parse = |record: &str| {
            let (name, value) = record.split_once('=')?;
            let record = match value.strip_prefix("txt:") {
                Some(text) => Record::Txt(text.into()),
                None => match value.parse() {
                    Ok(address) => Record::A(address),
                    Err(_) => Record::Aaaa(value.parse().ok()?),
                },
            };
            Some((encode(name)?, record))
        };
        let rows = records.iter().map(|record| {
            parse(record.as_ref()).ok_or_else(|| {
                let error = format!("not `name=address` or `name=txt:text`: {}", record.as_ref());
                io::Error::new(io::ErrorKind::InvalidInput, error)
            })
        });
        rows.collect::<io::Result<_>>().map(Table)
    }

    /// The records of a name, and whether it exists: also if only names below it have records.
    fn find(&self, name: &[u8]) -> (Vec<&Record>, bool) {
        let records = self.0.iter().filter(|row| row.0 == name).map(|row| &row.1).collect();
        let exists = self.0.iter().any(|row| is_below(&row.0, name));
        (records, exists)
    }
}

/// A name as messages have it, in lower case: labels behind their lengths, and the root.
fn encode(name: &str) -> Option<Vec<u8>> {
    let mut encoded = Vec::new();
    for label in name.strip_suffix('.').unwrap_or(name).split('.') {
        if !(1..=MAX_LABEL).contains(&label.len()) {
            return None;
        }
        encoded.push(label.len() as u8);
        encoded.extend(label.to_ascii_lowercase().as_bytes());
    }
    encoded.push(0);
    (encoded.len() <= MAX_NAME).then_some(encoded)
}

/// Whether `name` is `ancestor` or below it.
fn is_below(mut name: &[u8], ancestor: &[u8]) -> bool {
    while name != ancestor {
        match name {
            [] | [0, ..] => return false,
            [length, labels @ ..] => name = &labels[usize::from(*length)..],
        }
    }
    true
}

/// What is asked.
struct Question {
    /// In lower case.
    name: Vec<u8>,
    kind: u16,
    class: u16,
    /// Where it ends in the message.
    end: usize,
}

fn word(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?))
}

/// Reads the question behind the header. There is nothing before it that a name could refer to.
fn question(query: &[u8]) -> Option<Question> {
    let mut at = HEADER;
    loop {
        let length = usize::from(*query.get(at)?);
        if length > MAX_LABEL {
            return None;
        }
        at += 1 + length;
        if length == 0 {
            break;
        }
    }
    let name = query.get(HEADER..at).filter(|name| name.len() <= MAX_NAME)?.to_ascii_lowercase();
    Some(Question { name, kind: word(query, at)?, class: word(query, at + 2)?, end: at + 4 })
}

/// The response to a query; `None` for what is none, and must not be answered.
pub(crate) fn answer(table: &Table, query: &[u8]) -> Option<Vec<u8>> {
    let (Some(flags), Some(questions)) = (word(query, 2), word(query, 4)) else { return None };
    let is_response = flags & 0x8000 != 0;
    if query.len() < HEADER || is_response {
        return None;
    }
    let mut response = query[..HEADER].to_vec();
    let is_standard = flags & 0x7800 == 0;
    let (code, answers) = match question(query) {
        _ if !is_standard => (Code::NotImplemented, Vec::new()),
        Some(question) if questions == 1 => {
            response.extend(&query[HEADER..question.end]);
            look_up(table, &question)
        }
        _ => (Code::FormatError, Vec::new()),
    };
    let question_count = u16::from(response.len() > HEADER);
    let mut count = 0u16;
    let mut truncated = false;
    for record in answers {
        let data = record.data();
        if response.len() + 12 + data.len() > MAX_RESPONSE {
            truncated = true;
            break;
        }
        for word in [QUESTION_NAME, record.kind(), CLASS_IN] {
            response.extend(word.to_be_bytes());
        }
        response.extend(TTL.to_be_bytes());
        response.extend((data.len() as u16).to_be_bytes());
        response.extend(data);
        count += 1;
    }
    let authoritative = matches!(code, Code::NoError | Code::NoSuchName);
    // The query's operation and its wish for recursion are given back, which there is none of.
    let flags = 0x8000
        | flags & 0x7900
        | u16::from(authoritative) << 10
        | u16::from(truncated) << 9
        | code as u16;
    for (index, word) in [flags, question_count, count, 0, 0].into_iter().enumerate() {
        response[2 + 2 * index..4 + 2 * index].copy_from_slice(&word.to_be_bytes());
    }
    Some(response)
}

fn look_up<'a>(table: &'a Table, question: &Question) -> (Code, Vec<&'a Record>) {
    if !matches!(question.class, CLASS_IN | CLASS_ANY) {
        return (Code::Refused, Vec::new());
    }
    let (mut records, exists) = table.find(&question.name);
    records.retain(|record| question.kind == record.kind() || question.kind == TYPE_ANY);
    (if exists { Code::NoError } else { Code::NoSuchName }, records)
}

/// Answers what comes, until the socket fails.
pub(crate) fn serve(socket: &UdpSocket, table: &Table) -> io::Result<()> {
    let mut queries = Datagrams::new(AT_ONCE, MAX_QUERY);
    loop {
        socket.recv_many(&mut queries)?;
        let mut responses: &[(Vec<u8>, SocketAddr)] = &queries
            .iter()
            .filter_map(|query| Some((answer(table, query.bytes())?, query.addr())))
            .collect::<Vec<_>>();
        while !responses.is_empty() {
            // One that cannot be sent is the loss of whoever asked.
            let sent = socket.send_many(responses).unwrap_or(0);
            responses = &responses[responses.len().min(sent + 1)..];
        }
    }
}
