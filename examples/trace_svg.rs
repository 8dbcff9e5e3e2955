//! Draws a part of a trace as SVG: a track for each worker, a box for each run of a coroutine, in its
//! own colour, and an arrow for each wake and each spawn.
//!
//! The trace is JSON in the Trace Event Format, as Chrome and Perfetto read it. The part is the one
//! with the most arrows, of the length asked for (400 us without), or the one that begins at the
//! given microsecond.
//!
//! ```sh
//! cargo run --release --example trace_svg -- trace.json trace.svg
//! cargo run --release --example trace_svg -- trace.json trace.svg 250
//! cargo run --release --example trace_svg -- trace.json trace.svg 250 18000
//! ```

use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::process::ExitCode;

/// Pixels.
const WIDTH: f64 = 1200.0;
const LEFT: f64 = 100.0;
const TOP: f64 = 34.0;
const LANE: f64 = 74.0;
const BOX: f64 = 30.0;
/// What a letter of a label takes.
const LETTER: f64 = 6.2;

/// A process and a thread of it.
type Track = (i64, i64);

struct Slice {
    track: Track,
    start: f64,
    end: f64,
    name: String,
    /// None: the worker's own doings.
    coroutine: Option<u64>,
    args: String,
}

#[derive(Clone, Copy)]
struct End {
    track: Track,
    at: f64,
}

struct Arrow {
    from: End,
    to: End,
    name: String,
}

struct Mark {
    track: Track,
    at: f64,
    name: String,
}

#[derive(Default)]
struct Trace {
    names: BTreeMap<Track, String>,
    slices: Vec<Slice>,
    arrows: Vec<Arrow>,
    marks: Vec<Mark>,
}

impl Trace {
    /// `None`: it is not such a trace.
    fn read(json: &str) -> Option<Trace> {
        let json: Value = serde_json::from_str(json).ok()?;
        let events = json.get("traceEvents").unwrap_or(&json).as_array()?;
        let mut trace = Trace::default();
        let mut begun: HashMap<String, (End, String)> = HashMap::new();
        let mut ended: Vec<(String, End)> = Vec::new();
        for event in events {
            let number = |key: &str| event.get(key).and_then(Value::as_f64);
            let track = (event.get("pid")?.as_i64()?, event.get("tid")?.as_i64()?);
            let name = event.get("name")?.as_str()?.to_owned();
            let args = event.get("args").unwrap_or(&Value::Null);
            let at = number("ts").unwrap_or(0.0);
            let id = || event.get("id").map(Value::to_string);
            match event.get("ph")?.as_str()? {
                "M" if name == "thread_name" => {
                    let name = args.get("name")?.as_str()?.to_owned();
                    trace.names.insert(track, name);
                }
                "X" => trace.slices.push(Slice {
                    track,
                    start: at,
                    end: at + number("dur")?,
                    name,
                    coroutine: args.get("coroutine").and_then(Value::as_u64),
                    args: describe(args),
                }),
                "s" => drop(begun.insert(id()?, (End { track, at }, name))),
                "f" => ended.push((id()?, End { track, at })),
                "i" => trace.marks.push(Mark { track, at, name }),
                _ => {}
            }
        }
        for (id, to) in ended {
            let (from, name) = begun.remove(&id)?;
            trace.arrows.push(Arrow { from, to, name });
        }
        trace.arrows.sort_by(|a, b| a.from.at.total_cmp(&b.from.at));
        Some(trace)
    }

    /// Where the part of that length begins that has the most arrows.
    fn busiest(&self, length: f64) -> f64 {
        let arrows = &self.arrows;
        let mut end = 0;
        let count = |start: usize| {
            while end < arrows.len() && arrows[end].to.at < arrows[start].from.at + length {
                end += 1;
            }
            (end.saturating_sub(start), start)
        };
        let most = (0..arrows.len()).map(count).max_by_key(|(count, _)| *count);
        most.map_or(0.0, |(_, start)| arrows[start].from.at)
    }

    fn draw(&self, from: f64, length: f64) -> String {
        let inside = |at: f64| (from..=from + length).contains(&at);
        let x = |at: f64| LEFT + (at - from).clamp(0.0, length) / length * (WIDTH - LEFT - 30.0);
        let lanes: HashMap<Track, f64> = (self.names.keys().enumerate())
            .map(|(index, &track)| (track, TOP + LANE * index as f64 + 26.0))
            .collect();
        let height = TOP + LANE * lanes.len() as f64 + 10.0;
        let mut svg = Svg(String::new());
        svg.open(height);
        for step in 0..=5 {
            let at = from + length * f64::from(step) / 5.0;
            svg.tick(x(at), height, length * f64::from(step) / 5.0);
        }
        for (track, name) in &self.names {
            svg.text(6.0, lanes[track] + BOX / 2.0 + 4.0, "t", name);
        }
        for slice in self.slices.iter().filter(|one| one.end > from && one.start < from + length) {
            let Some(&lane) = lanes.get(&slice.track) else { continue };
            svg.slice(x(slice.start), x(slice.end), lane, slice);
        }
        let whole = |arrow: &&Arrow| inside(arrow.from.at) && inside(arrow.to.at);
        for arrow in self.arrows.iter().filter(whole) {
            let ends = (lanes.get(&arrow.from.track), lanes.get(&arrow.to.track));
            let (Some(&start), Some(&end)) = ends else { continue };
            svg.arrow((x(arrow.from.at), start), (x(arrow.to.at), end), &arrow.name);
        }
        for mark in self.marks.iter().filter(|one| inside(one.at)) {
            let Some(&lane) = lanes.get(&mark.track) else { continue };
            svg.mark(x(mark.at), lane, &mark.name);
        }
        svg.0.push_str("</svg>\n");
        svg.0
    }
}

/// What is said of a slice, a line for each.
fn describe(args: &Value) -> String {
    let Some(args) = args.as_object() else { return String::new() };
    let line = |(key, value): (&String, &Value)| match value.as_str() {
        Some(text) => format!("\n{key}: {text}"),
        None => format!("\n{key}: {value}"),
    };
    args.iter().map(line).collect()
}

struct Svg(String);

impl Svg {
    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        writeln!(self.0, "{element}").expect("a string takes whatever is written");
    }

    fn open(&mut self, height: f64) {
        self.add(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             font-family=\"sans-serif\" font-size=\"11\">\n<style>.t{{font-size:12px}}\
             .g{{stroke:#ddd}}.a{{fill:none;stroke:#333;stroke-width:.9}}\
             .s{{stroke:#b03030}}.m{{fill:#b03030}}</style>\n\
             <defs><marker id=\"h\" viewBox=\"0 0 6 6\" refX=\"5\" refY=\"3\" markerWidth=\"6\" \
             markerHeight=\"6\" orient=\"auto\"><path d=\"M0 0L6 3L0 6z\" fill=\"#333\"/></marker>\
             </defs>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>"
        ));
    }

    fn text(&mut self, x: f64, y: f64, class: &str, text: &str) {
        self.add(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\">{}</text>",
            escaped(text)
        ));
    }

    fn tick(&mut self, x: f64, height: f64, at: f64) {
        self.add(format_args!("<path class=\"g\" d=\"M{x:.1} 22V{height:.1}\"/>"));
        self.text(x - 12.0, 16.0, "t", &format!("{at:.0} us"));
    }

    fn slice(&mut self, start: f64, end: f64, lane: f64, slice: &Slice) {
        let width = (end - start).max(0.7);
        let fill = slice.coroutine.map_or("#e4e4e4".into(), colour);
        // The worker's own doings are lower boxes.
        let (y, height) = match slice.coroutine {
            Some(_) => (lane, BOX),
            None => (lane + BOX / 4.0, BOX / 2.0),
        };
        self.add(format_args!(
            "<rect x=\"{start:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{height}\" \
             fill=\"{fill}\"><title>{}, {:.1} us{}</title></rect>",
            escaped(&slice.name),
            slice.end - slice.start,
            escaped(&slice.args),
        ));
        let number = slice.coroutine.map(|id| id.to_string());
        let labels = [Some(slice.name.clone()), number];
        let fits = |label: &String| label.len() as f64 * LETTER + 4.0 < width;
        if let Some(label) = labels.into_iter().flatten().find(fits) {
            self.text(start + 2.0, lane + BOX / 2.0 + 4.0, "l", &label);
        }
    }

    /// On one track it is an arc above, and otherwise a line from one to the other.
    fn arrow(&mut self, from: (f64, f64), to: (f64, f64), name: &str) {
        let ((x1, lane1), (x2, lane2)) = (from, to);
        let class = if name == "spawn" { "a s" } else { "a" };
        let path = if lane1 == lane2 {
            let up = lane1 - 8.0 - (x2 - x1).abs().min(60.0) / 6.0;
            format!("M{x1:.1} {lane1}C{x1:.1} {up:.1} {x2:.1} {up:.1} {x2:.1} {lane1}")
        } else {
            let (y1, y2) = if lane1 < lane2 { (lane1 + BOX, lane2) } else { (lane1, lane2 + BOX) };
            format!("M{x1:.1} {y1}L{x2:.1} {y2}")
        };
        self.add(format_args!("<path class=\"{class}\" marker-end=\"url(#h)\" d=\"{path}\"/>"));
    }

    fn mark(&mut self, x: f64, lane: f64, name: &str) {
        let y = lane + BOX;
        self.add(format_args!(
            "<path class=\"m\" d=\"M{x:.1} {y}l4 8h-8z\"><title>{}</title></path>",
            escaped(name)
        ));
    }
}

/// One that is not its neighbours': numbers come in a row, and the golden angle keeps those apart.
fn colour(coroutine: u64) -> String {
    let hue = coroutine.wrapping_mul(137) % 360;
    format!("hsl({hue},62%,74%)")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let number = |index: usize| arguments.get(index).map(|text| text.parse::<f64>());
    let (Some(input), Some(output)) = (arguments.first(), arguments.get(1)) else {
        eprintln!("trace_svg: which trace, and which picture?");
        return ExitCode::FAILURE;
    };
    let (Ok(length), Ok(from)) = (number(2).unwrap_or(Ok(400.0)), number(3).transpose()) else {
        eprintln!("trace_svg: microseconds are numbers");
        return ExitCode::FAILURE;
    };
    let read = std::fs::read_to_string(input);
    let read = read.map_err(|error| error.to_string());
    let trace = read.and_then(|json| Trace::read(&json).ok_or("it is no trace".into()));
    let drawn = trace.and_then(|trace| {
        let svg = trace.draw(from.unwrap_or_else(|| trace.busiest(length)), length);
        std::fs::write(output, svg).map_err(|error| format!("{output}: {error}"))
    });
    match drawn {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("trace_svg: {input}: {error}");
            ExitCode::FAILURE
        }
    }
}
