//! A trace as a program reads it, and what holds of each.

use crate::json::Json;
use std::collections::BTreeMap;

/// Process and thread.
pub(crate) type Place = (u64, u64);

#[derive(Clone, Debug)]
pub(crate) struct Slice {
    pub(crate) place: Place,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) name: String,
    pub(crate) cat: String,
    pub(crate) args: Json,
}

#[derive(Clone, Debug)]
pub(crate) struct Arrow {
    pub(crate) name: String,
    /// Numbers of slices.
    pub(crate) from: usize,
    pub(crate) to: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) name: String,
    pub(crate) args: Json,
}

#[derive(Debug)]
pub(crate) struct Trace {
    /// By place, then by time.
    pub(crate) slices: Vec<Slice>,
    pub(crate) arrows: Vec<Arrow>,
    pub(crate) marks: Vec<Mark>,
    pub(crate) tracks: BTreeMap<Place, String>,
    pub(crate) lost: u64,
}

impl Slice {
    pub(crate) fn stopped_by(&self) -> &str {
        self.args.get("stopped_by").unwrap().text()
    }
}

impl Trace {
    /// The slices of coroutines.
    pub(crate) fn runs(&self) -> impl Iterator<Item = &Slice> {
        self.slices.iter().filter(|slice| slice.cat == "run")
    }

    /// Panics unless it is as every trace has to be.
    pub(crate) fn read(json: &str) -> Trace {
        let json = Json::parse(json);
        let mut trace = Trace {
            slices: Vec::new(),
            arrows: Vec::new(),
            marks: Vec::new(),
            tracks: BTreeMap::new(),
            lost: json.get("otherData").unwrap().get("lost").unwrap().number(),
        };
        // The ends of arrows by number: name, place, time.
        let mut ends: BTreeMap<u64, BTreeMap<&str, (String, Place, u64)>> = BTreeMap::new();
        for event in json.get("traceEvents").unwrap().list() {
            let number = |key| event.get(key).unwrap().number();
            let name = event.get("name").unwrap().text().to_owned();
            let place = (number("pid"), number("tid"));
            let at = || event.get("ts").unwrap().nanos();
            let args = || event.get("args").unwrap().clone();
            match event.get("ph").unwrap().text() {
                "M" if name == "thread_name" => {
                    let before =
                        trace.tracks.insert(place, args().get("name").unwrap().text().into());
                    assert_eq!(before, None);
                }
                "M" => assert_eq!(name, "process_name"),
                "X" => {
                    let (start, cat) = (at(), event.get("cat").unwrap().text().to_owned());
                    let end = start + event.get("dur").unwrap().nanos();
                    trace.slices.push(Slice { place, start, end, name, cat, args: args() });
                }
                "i" => trace.marks.push(Mark { name, args: args() }),
                kind @ ("s" | "f") => {
                    let before =
                        ends.entry(number("id")).or_default().insert(kind, (name, place, at()));
                    assert!(before.is_none(), "an arrow with two ends of one kind");
                }
                other => panic!("an event of the kind {other:?}"),
            }
        }
        trace.slices.sort_by_key(|slice| (slice.place, slice.start, slice.end));
        for pair in trace.slices.windows(2) {
            let apart = pair[0].place != pair[1].place || pair[0].end <= pair[1].start;
            assert!(apart, "slices overlap: {pair:?}");
        }
        assert!(trace.slices.iter().all(|slice| trace.tracks.contains_key(&slice.place)));
        for ends in ends.into_values() {
            let ((name, from, leaves), (named, to, comes)) = (&ends["s"], &ends["f"]);
            assert!(name == named && leaves <= comes, "{ends:?}");
            let holds = |slice: &Slice, at| slice.start <= at && at <= slice.end;
            let begins =
                |slice: &Slice| slice.place == *to && slice.start == *comes && slice.cat == "run";
            let from =
                trace.slices.iter().position(|one| one.place == *from && holds(one, *leaves));
            let to = trace.slices.iter().position(begins);
            let (from, to) =
                (from.expect("an arrow from nowhere"), to.expect("an arrow to nowhere"));
            trace.arrows.push(Arrow { name: name.clone(), from, to });
        }
        trace
    }
}
