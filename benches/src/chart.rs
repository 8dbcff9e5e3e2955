//! Charts of tables: a bar for each contestant, and a line from the least to the most.

use crate::table::{Spread, Table, number};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::error::Error;
use std::io;

const WIDTH: i32 = 860;
const LINE: i32 = 22;
/// Where bars begin and end; their figures stand behind.
const LEFT: i32 = 270;
const RIGHT: i32 = 660;
const HEAD: i32 = 58;
const CAPTION: i32 = 18;
/// Characters in a line of the caption.
const CAPTION_WIDTH: usize = 130;
/// From this ratio on lengths are logarithms.
const LARGE: f64 = 20.0;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// One picture of the tables of a row, each by its first figure; what it is of stands below.
pub(crate) fn svg(tables: &[Table], captions: &[&str]) -> io::Result<String> {
    let captions: Vec<String> = captions.iter().flat_map(|caption| wrapped(caption)).collect();
    let heights: Vec<i32> =
        tables.iter().map(|table| HEAD + LINE * table.lines.len() as i32).collect();
    let height = heights.iter().sum::<i32>() + CAPTION * (captions.len() as i32 + 2);
    let mut text = String::new();
    {
        let area =
            SVGBackend::with_string(&mut text, (WIDTH as u32, height as u32)).into_drawing_area();
        draw(&area, tables, &heights, &captions)
            .map_err(|error| io::Error::other(error.to_string()))?;
    }
    Ok(text)
}

fn draw(
    area: &Area<'_>,
    tables: &[Table],
    heights: &[i32],
    captions: &[String],
) -> Result<(), Box<dyn Error>> {
    area.fill(&WHITE)?;
    let mut top = 0;
    for (table, height) in tables.iter().zip(heights) {
        panel(area, table, top)?;
        top += height;
    }
    let load = tables.iter().map(|table| table.load).fold(0.0, f64::max);
    let spread = format!("Medians; lines from the least to the most. Load average {load:.1}.");
    for caption in std::iter::once(&spread).chain(captions) {
        top += CAPTION;
        write(area, caption, (12, top), 12, HPos::Left, &GREY)?;
    }
    area.present()?;
    Ok(())
}

const GREY: RGBColor = RGBColor(90, 90, 90);

fn panel(area: &Area<'_>, table: &Table, top: i32) -> Result<(), Box<dyn Error>> {
    let spreads: Vec<Option<Spread>> = table.lines.iter().map(|line| line.spread(0)).collect();
    let all = || spreads.iter().flatten();
    let most = all().map(|spread| spread.most).fold(0.0, f64::max);
    let least = all().map(|spread| spread.least).filter(|&least| least > 0.0).fold(most, f64::min);
    let axis = Axis::new(least, most);
    let scale = if axis.is_log { ", logarithmic" } else { "" };
    let title = format!("{} [{}{scale}]", table.what, table.units[0]);
    write(area, &title, (12, top + 18), 15, HPos::Left, &BLACK)?;
    let (first, last) = (top + 34, top + 34 + LINE * spreads.len() as i32);
    for (mark, x) in axis.marks() {
        let line = [(x, first), (x, last)];
        area.draw(&PathElement::new(line, RGBColor(225, 225, 225)))?;
        write(area, &mark, (x, last + 8), 11, HPos::Center, &GREY)?;
    }
    for (index, (line, spread)) in table.lines.iter().zip(&spreads).enumerate() {
        let middle = first + LINE * index as i32 + LINE / 2;
        write(area, &line.name, (LEFT - 8, middle), 13, HPos::Right, &BLACK)?;
        let Some(spread) = spread else {
            write(area, "failed", (LEFT + 4, middle), 12, HPos::Left, &GREY)?;
            continue;
        };
        let bar = [(LEFT, middle - 7), (axis.at(spread.median), middle + 7)];
        area.draw(&Rectangle::new(bar, color(&line.name).filled()))?;
        let (from, to) = (axis.at(spread.least), axis.at(spread.most));
        area.draw(&PathElement::new([(from, middle), (to, middle)], BLACK))?;
        for x in [from, to] {
            area.draw(&PathElement::new([(x, middle - 4), (x, middle + 4)], BLACK))?;
        }
        let behind = (to.max(bar[1].0) + 6, middle);
        write(area, &number(spread.median), behind, 12, HPos::Left, &BLACK)?;
    }
    Ok(())
}

/// From figures to places.
struct Axis {
    is_log: bool,
    low: f64,
    high: f64,
}

impl Axis {
    fn new(least: f64, most: f64) -> Axis {
        if least > 0.0 && most / least > LARGE {
            // Bars begin below the least, at a power of ten.
            Axis { is_log: true, low: (least.log10() - 0.1).floor(), high: most.log10() }
        } else {
            Axis { is_log: false, low: 0.0, high: if most > 0.0 { most } else { 1.0 } }
        }
    }

    fn at(&self, figure: f64) -> i32 {
        let figure = if self.is_log { figure.max(f64::MIN_POSITIVE).log10() } else { figure };
        let share = (figure - self.low) / (self.high - self.low);
        LEFT + (share.clamp(0.0, 1.0) * f64::from(RIGHT - LEFT)) as i32
    }

    /// With what is written at them.
    fn marks(&self) -> Vec<(String, i32)> {
        let figures: Vec<f64> = if self.is_log {
            (self.low as i32..=self.high as i32).map(|power| 10_f64.powi(power)).collect()
        } else {
            let power = 10_f64.powf((self.high / 4.0).log10().floor());
            let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
            let step = steps.into_iter().find(|step| self.high / step < 6.0).unwrap_or(power);
            (0..=(self.high / step) as i32).map(|turn| f64::from(turn) * step).collect()
        };
        let short = |figure: f64| if figure < 1e4 { format!("{figure}") } else { number(figure) };
        figures.into_iter().map(|figure| (short(figure), self.at(figure))).collect()
    }
}

/// The same for all that is one contestant's.
fn color(name: &str) -> RGBColor {
    let colors = [
        ("pirn, migrating", RGBColor(148, 178, 220)),
        ("pirn", RGBColor(38, 90, 170)),
        ("tokio", RGBColor(214, 131, 60)),
        ("Go", RGBColor(60, 160, 165)),
        ("may_", RGBColor(140, 105, 165)),
        ("may", RGBColor(140, 105, 165)),
        ("gevent", RGBColor(95, 155, 85)),
    ];
    let found = colors.iter().find(|(start, _)| name.starts_with(start));
    found.map_or(RGBColor(150, 150, 150), |(_, color)| *color)
}

fn write(
    area: &Area<'_>,
    text: &str,
    place: (i32, i32),
    size: i32,
    side: HPos,
    color: &RGBColor,
) -> Result<(), Box<dyn Error>> {
    let style = TextStyle::from(("sans-serif", size).into_font())
        .color(color)
        .pos(Pos::new(side, VPos::Center));
    area.draw(&Text::new(text.to_owned(), place, style))?;
    Ok(())
}

/// In lines that fit.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        if lines.last().is_some_and(|line| line.len() + word.len() > CAPTION_WIDTH) {
            lines.push(String::new());
        }
        let line = lines.last_mut().expect("there is one");
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines
}
